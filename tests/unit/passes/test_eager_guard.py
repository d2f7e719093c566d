"""The quality guard: a token changed by hand is found, with the logits' distance at its place."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from support.small_model import small_inputs, small_model

from layerscope.config.resolve import resolve
from layerscope.measure.latency import TimedBatch
from layerscope.passes.eager_guard import against_eager
from layerscope.records import BatchRecord, LatencySample
from layerscope.workload.batching import Batch
from layerscope.workload.data import Sample
from layerscope.workload.generation import Generator

STEPS = 5
CONFIG = resolve(
    {
        "model": "tiny", "weights": "random", "dataset": "synthetic-random", "device": "cpu",
        "max_new_tokens": STEPS, "min_new_tokens": STEPS,
    },
    cuda=False,
).config  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return small_model(tmp_path_factory.mktemp("small"))


def timed(model: Any, tokens: torch.Tensor) -> TimedBatch:
    generated = Generator(model, CONFIG).describe(tokens)
    samples = tuple(
        Sample(sample_id=name, image=None, prompt="", references=()) for name in ("first", "second")
    )
    record = BatchRecord(
        index=0, sample_ids=("first", "second"), pixel_values_shape=(2, 3, 28, 28),
        text_lengths=(6, 6), padded_text_length=6, qformer_lengths=(6, 6), padded_qformer_length=6,
    )  # fmt: skip
    sample = LatencySample(
        batch=0, size=2, warmup=False, full=True, generate_ns=1, preprocess_ns=None, copy_ns=1,
        decoder_steps=STEPS, new_tokens=generated.new_tokens,
    )  # fmt: skip
    return TimedBatch(Batch(record, samples, small_inputs()), sample, generated)


def test_equal_tokens_are_equal(model: Any) -> None:
    tokens = Generator(model, CONFIG)(small_inputs())
    eager = against_eager(model, CONFIG, [timed(model, tokens)] * 2)
    found = eager.tokens
    assert (found.samples, found.equal, found.differences) == (4, 4, ())
    # Keys and values, 2 samples, 2 heads of 8 floats of 4 bytes: 5 steps and 10 encoder positions.
    assert eager.cache_bytes == 2 * 2 * 2 * 8 * 4 * (5 + 10)


def test_a_changed_token_is_found_with_its_distance(model: Any) -> None:
    tokens, logits = Generator(model, CONFIG).with_logits(small_inputs())
    changed = tokens.clone()
    other = (int(tokens[1, 3]) + 1) % 60
    changed[1, 3:] = other
    found = against_eager(model, CONFIG, [timed(model, changed)]).tokens
    assert (found.samples, found.equal) == (2, 1)
    (item,) = found.differences
    assert (item.sample_id, item.position) == ("second", 3)
    assert (item.eager_token, item.token) == (int(tokens[1, 3]), other)
    # The start token takes position 0, so position 3 was decided by the third step's logits.
    row = logits[2, 1]
    assert int(row.argmax()) == item.eager_token
    assert item.logit_gap == pytest.approx(float(row[item.eager_token] - row[other]))
    assert item.logit_gap > 0


def test_an_answer_that_ended_early_has_no_distance(model: Any) -> None:
    tokens = Generator(model, CONFIG)(small_inputs())
    short = dataclasses.replace(timed(model, tokens[:, :4]))
    found = against_eager(model, CONFIG, [short]).tokens
    assert [item.logit_gap for item in found.differences] == [None, None]
    assert {item.position for item in found.differences} == {4}
