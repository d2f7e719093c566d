"""Batches in, raw timings of unprofiled `generate()` out. No hooks, no profiler, no statistics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from layerscope.records import LatencySample
from layerscope.workload.generation import Generated, Generator

if TYPE_CHECKING:
    from layerscope.workload.batching import Batch, Batcher
    from layerscope.workload.data.sample import Sample

Clock = Callable[[], int]


@dataclass(frozen=True)
class TimedBatch:
    """One batch, its timing and what it generated."""

    batch: Batch
    sample: LatencySample
    generated: Generated


class BatchTimer:
    """Prepares, copies and generates a batch, each timed apart.

    The device is synchronised at the edges of the copy and of `generate()`, nowhere else.

    Args:
        clock: monotonic nanoseconds; tests give their own.
    """

    def __init__(
        self,
        generator: Generator,
        batcher: Batcher,
        device: str,
        dtype: torch.dtype,
        full_size: int,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        self._generator = generator
        self._batcher = batcher
        self._device = device
        self._dtype = dtype
        self._full_size = full_size
        self._clock = clock

    def time(self, samples: Sequence[Sample], index: int, *, warmup: bool) -> TimedBatch:
        """Run one batch of samples once."""
        began = self._clock()
        batch = self._batcher.prepare(samples, index)
        prepared = self._clock()
        inputs = batch.to(self._device, self._dtype)
        self._synchronize()
        copied = self._clock()
        tokens = self._generator(inputs)
        self._synchronize()
        done = self._clock()
        generated = self._generator.describe(tokens)
        return TimedBatch(
            batch=batch,
            generated=generated,
            sample=LatencySample(
                batch=index,
                size=len(samples),
                warmup=warmup,
                full=len(samples) == self._full_size,
                generate_ns=done - copied,
                preprocess_ns=prepared - began,
                copy_ns=copied - prepared,
                decoder_steps=generated.decoder_steps,
                new_tokens=generated.new_tokens,
            ),
        )

    def _synchronize(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


def warm_up(timer: BatchTimer, samples: Sequence[Sample], rounds: int) -> list[TimedBatch]:
    """Run the first batch `rounds` times; kept as raw samples, marked, and in no statistic."""
    return [timer.time(samples, 0, warmup=True) for _ in range(rounds)]


def measure(timer: BatchTimer, batches: Iterable[Sequence[Sample]]) -> Iterable[TimedBatch]:
    """Time every batch once, in order."""
    for index, samples in enumerate(batches):
        yield timer.time(samples, index, warmup=False)
