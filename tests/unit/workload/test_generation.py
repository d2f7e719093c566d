"""What a `Generator` returns and counts, for a T5 and for a model that has only a decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_model import SMALL, SMALL_LLAMA, small_inputs, small_model

from layerscope.config.resolve import resolve
from layerscope.workload.generation import Generator

STEPS = 4


@pytest.fixture(params=[SMALL, SMALL_LLAMA], ids=["t5", "llama"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return small_model(tmp_path, request.param)


def generator(model: Any, **more: Any) -> Generator:
    given = {
        "model": "tiny", "weights": "random", "dataset": "synthetic-random", "device": "cpu",
        "max_new_tokens": STEPS, "min_new_tokens": STEPS, **more,
    }  # fmt: skip
    return Generator(model, resolve(given, cuda=False).config)


@pytest.mark.parametrize("num_beams", [1, 2])
@pytest.mark.parametrize("optimization", ["eager", "compile"])
def test_a_prompt_is_no_answer(model: Any, optimization: str, num_beams: int) -> None:
    """Four tokens forced: four counted, at four steps, however long the prompt is."""
    run = generator(model, optimization=optimization, num_beams=num_beams)
    for text in (3, 9):
        inputs = small_inputs(2, text)
        tokens = run(inputs)
        started = int(model.config.text_config.is_encoder_decoder)
        assert tokens.shape == (2, started + STEPS)
        found = run.describe(tokens)
        assert found.new_tokens == (STEPS, STEPS)
        assert found.decoder_steps == STEPS


def test_the_logits_are_those_of_the_tokens(model: Any) -> None:
    inputs = small_inputs(2, 5)
    run = generator(model)
    tokens, logits = run.with_logits(inputs)
    assert torch.equal(tokens, run(inputs).cpu())
    assert torch.equal(tokens[:, -STEPS:], logits.argmax(dim=-1).T)
