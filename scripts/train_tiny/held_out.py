"""WER on samples that training never saw, through a run's own batching, `generate()` and scoring."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from multiprocessing import get_context
from typing import Any

import torch

from layerscope.config.resolve import resolve
from layerscope.passes.answers import predictions_of
from layerscope.records import Prediction, RunConfig
from layerscope.scores.wer import score
from layerscope.workload.architecture import bundled_folder, find_architecture
from layerscope.workload.batching import Batch, Batcher
from layerscope.workload.checkpoint import read_processor
from layerscope.workload.data import SyntheticSource
from layerscope.workload.data.synthetic import PROMPTS
from layerscope.workload.generation import Generator

SPLITS = tuple(PROMPTS)
_BATCH = 32


@dataclass(frozen=True)
class Cell:
    """One held-out measurement's place in the grid."""

    dataset: str
    image_size: int
    max_input_len: int


@dataclass(frozen=True)
class Source:
    """Which samples: test's, by default, whose seeds no training draws from."""

    seed: int = 0
    split: str = "test"
    first: int = 0
    count: int = 512


def grid(sizes: tuple[int, ...], lengths: tuple[int, ...]) -> tuple[Cell, ...]:
    """Every combination of split, image size and input length."""
    return tuple(Cell(*cell) for cell in product(SPLITS, sizes, lengths))


def measure(
    model: torch.nn.Module, cells: tuple[Cell, ...], source: Source, workers: int
) -> Iterator[dict[str, Any]]:
    """One row per cell: its WER with the 95 % interval, in fp32 without TF32 or autocast."""
    processor: Any = read_processor(bundled_folder())
    parts: Any = model
    device = next(model.parameters()).device
    starts = range(source.first, source.first + source.count, _BATCH)
    jobs = [(cell, source, start) for cell in cells for start in starts]
    model.eval()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        prepared = pool.map(_prepare, jobs)
        for cell in cells:
            config = _config(cell)
            generator = Generator(parts, config)
            found: list[Prediction] = []
            for _ in starts:
                batch = next(prepared)
                generated = generator.describe(generator(batch.to(device, torch.float32)))
                found += predictions_of(processor, batch, generated)
            quality = score(found)
            yield {
                **asdict(cell),
                "samples": quality.samples,
                "wer_value": quality.wer_value,
                "wer_low": quality.wer_interval.low if quality.wer_interval else None,
                "wer_high": quality.wer_interval.high if quality.wer_interval else None,
            }


def _config(cell: Cell) -> RunConfig:
    return resolve({"model": "tiny", "device": "cpu", **asdict(cell)}, cuda=False).config


def _prepare(job: tuple[Cell, Source, int]) -> Batch:
    """One batch as a run would prepare it. Runs in a process of its own: PIL is the slow part."""
    cell, source, start = job
    torch.set_num_threads(1)
    samples = SyntheticSource(cell.dataset, seed=source.seed, split=source.split)  # type: ignore[arg-type]
    end = min(start + _BATCH, source.first + source.count)
    config = find_architecture("tiny").config
    batcher = Batcher(_config(cell), read_processor(bundled_folder()), config)
    return batcher.prepare([samples.sample(i) for i in range(start, end)], start // _BATCH)
