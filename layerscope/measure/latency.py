"""Batches in, raw timings of unprofiled `generate()` out. No hooks, no profiler, no statistics."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from layerscope.records import LatencySample
from layerscope.workload.generation import Generated, Generator

if TYPE_CHECKING:
    from layerscope.workload.batching import Batch, Batches
    from layerscope.workload.data.sample import Sample

Clock = Callable[[], int]


@dataclass(frozen=True)
class TimedBatch:
    """One batch, its timing and what it generated."""

    batch: Batch
    sample: LatencySample
    generated: Generated


@dataclass(frozen=True, slots=True)
class Target:
    """Where batches are copied to, and the dtype of their pixels there."""

    device: str
    dtype: torch.dtype


class BatchTimer:
    """Prepares, copies and generates a batch, each timed apart.

    The device is synchronised at the edges of the copy and of `generate()`, nowhere else.

    Args:
        full_size: samples of a batch that is full.
        clock: monotonic nanoseconds; tests give their own.
        for_warmup: what warm-ups run instead; None is the same generator.
    """

    def __init__(
        self,
        generator: Generator,
        batcher: Batches,
        target: Target,
        full_size: int,
        clock: Clock = time.perf_counter_ns,
        for_warmup: Generator | None = None,
    ) -> None:
        self._generator = generator
        self._for_warmup = for_warmup or generator
        self._batcher = batcher
        self._target = target
        self._full_size = full_size
        self._clock = clock

    def first(self, samples: Sequence[Sample], index: int, *, warmup: bool = False) -> TimedBatch:
        """Prepare a batch of samples and run it once."""
        batch, preprocess_ns = self.prepare(samples, index)
        return self.run(batch, preprocess_ns, warmup=warmup)

    def prepare(self, samples: Sequence[Sample], index: int) -> tuple[Batch, int]:
        """A batch, and the nanoseconds that preparing it took; nothing runs."""
        began = self._clock()
        batch = self._batcher.prepare(samples, index)
        return batch, self._clock() - began

    def run(self, batch: Batch, preprocess_ns: int, *, warmup: bool = False) -> TimedBatch:
        """Run a batch that was just prepared."""
        generator = self._for_warmup if warmup else self._generator
        return self._run(batch, preprocess_ns, 0, generator, warmup=warmup)

    def again(self, batch: Batch, repeat: int, generator: Generator | None = None) -> TimedBatch:
        """Run a prepared batch once more; with another generator, the window of its own it asks for."""
        return self._run(batch, None, repeat, generator or self._generator, warmup=False)

    def _run(
        self,
        batch: Batch,
        preprocess_ns: int | None,
        repeat: int,
        generator: Generator,
        *,
        warmup: bool,
    ) -> TimedBatch:
        prepared = self._clock()
        inputs = batch.to(self._target.device, self._target.dtype)
        synchronize(self._target.device)
        copied = began = self._clock()
        if generator.prepare(inputs):
            synchronize(self._target.device)
            began = self._clock()
        tokens = generator(inputs)
        synchronize(self._target.device)
        done = self._clock()
        generated = generator.describe(tokens)
        size = len(batch.samples)
        return TimedBatch(
            batch=batch,
            generated=generated,
            sample=LatencySample(
                batch=batch.record.index,
                size=size,
                warmup=warmup,
                full=size == self._full_size,
                generate_ns=done - began,
                preprocess_ns=preprocess_ns,
                copy_ns=copied - prepared,
                decoder_steps=generated.decoder_steps,
                new_tokens=generated.new_tokens,
                repeat=repeat,
            ),
        )


def synchronize(device: str) -> None:
    """Wait until the device has finished; nothing to wait for on a CPU."""
    if device == "cuda":
        torch.cuda.synchronize()
