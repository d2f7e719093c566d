"""The bundled model answers: image size and input length change its WER, and only where they should."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from layerscope.config.resolve import resolve
from layerscope.passes.answers import predictions_of
from layerscope.records import Prediction, RunConfig
from layerscope.scores.wer import score
from layerscope.workload.batching import Batcher
from layerscope.workload.data.catalogue import open_samples
from layerscope.workload.data.sample import Sample
from layerscope.workload.generation import Generator
from layerscope.workload.model import LoadedModel, load_model

SAMPLES, BATCH = 48, 8


@functools.cache
def loaded() -> LoadedModel:
    found = load_model(config("synthetic-coco", 224, 200))
    assert found.record.weights == "bundled, trained on synthetic data"
    return found


def config(dataset: str, image_size: int, max_input_len: int) -> RunConfig:
    given = {
        "model": "tiny", "device": "cpu", "dataset": dataset, "image_size": image_size,
        "max_input_len": max_input_len, "batch_size": BATCH, "samples": SAMPLES,
    }  # fmt: skip
    return resolve(given, cuda=False).config


def wer(dataset: str, image_size: int, max_input_len: int) -> float:
    """Of a run's own samples, batches, `generate()` and scoring."""
    settings = config(dataset, image_size, max_input_len)
    samples = [*open_samples(settings).samples(SAMPLES)]
    found = [
        answer
        for first in range(0, SAMPLES, BATCH)
        for answer in answers(settings, samples[first : first + BATCH])
    ]
    value = score(found).wer_value
    assert value is not None
    return value


def answers(settings: RunConfig, samples: Sequence[Sample]) -> tuple[Prediction, ...]:
    model, processor = loaded().model, loaded().processor
    assert processor is not None
    batch = Batcher(settings, processor, model.config).prepare(samples, 0)
    run = Generator(model, settings)
    generated = run.describe(run(batch.to("cpu", torch.float32)))
    return predictions_of(processor, batch, generated)


def test_small_letters_are_lost_in_a_small_image() -> None:
    large = wer("synthetic-textvqa", 448, 200)
    small = wer("synthetic-textvqa", 224, 200)
    assert large < 0.25
    assert small > large + 0.1


def test_a_deciding_word_is_lost_in_a_short_input() -> None:
    whole = wer("synthetic-scienceqa", 224, 200)
    cut = wer("synthetic-scienceqa", 224, 50)
    assert whole < 0.25
    assert cut > whole + 0.1


def test_a_caption_needs_neither() -> None:
    assert wer("synthetic-coco", 224, 50) < 0.1
