"""A loaded model and its data in, the raw results of the unprofiled and the traced pass out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from layerscope.errors import DataError
from layerscope.instrument.profiler import ProfilerSession
from layerscope.instrument.ranges import LayerRanges
from layerscope.measure.latency import BatchTimer, TimedBatch
from layerscope.records import Prediction, RunConfig, TracePass
from layerscope.report.progress import ProgressReporter
from layerscope.taxonomy import ROOT_GENERATE
from layerscope.workload.batching import Batcher
from layerscope.workload.data.sample import Sample, SampleSource
from layerscope.workload.dtype_layout import torch_dtype
from layerscope.workload.generation import Generator
from layerscope.workload.model import LoadedModel


@dataclass(frozen=True)
class Traced:
    """What the traced pass leaves beside the trace file."""

    record: TracePass
    failures: tuple[str, ...]


class Passes:
    """The passes of one run over one loaded model, in the order of the measurement contract."""

    def __init__(self, config: RunConfig, loaded: LoadedModel, progress: ProgressReporter) -> None:
        self._config = config
        self._loaded = loaded
        self._progress = progress
        self._generator = Generator(loaded.model, config)
        self._batcher = Batcher(config, loaded.processor, loaded.model.config)
        self._dtype = torch_dtype(config.dtype)
        self._timer = BatchTimer(
            self._generator, self._batcher, config.device, self._dtype, config.batch_size
        )

    def measure(self, source: SampleSource) -> list[TimedBatch]:
        """Warm up on the first batch, then time every batch once; no hooks, no profiler.

        Raises:
            DataError: the data ends before one batch is full.
        """
        batches = _batches(source, self._config.samples, self._config.batch_size)
        first = next(batches, ())
        if len(first) < self._config.batch_size:
            raise DataError(
                f"{source.name}: only {len(first)} usable samples, one batch needs "
                f"{self._config.batch_size}; use a smaller --batch or more data."
            )
        timed = []
        with self._progress.task("warm up", self._config.warmup) as advance:
            for _ in range(self._config.warmup):
                timed.append(self._timer.time(first, 0, warmup=True))
                advance(1)
        count = -(-self._config.samples // self._config.batch_size)
        with self._progress.task("measure, unprofiled", count) as advance:
            for index, samples in enumerate(itertools.chain([first], batches)):
                timed.append(self._timer.time(samples, index, warmup=False))
                advance(1)
        return timed

    def trace(self, unprofiled: TimedBatch, path: Path) -> Traced:
        """Run the same full batch once more under ranges and profiler and write Kineto's trace."""
        inputs = unprofiled.batch.to(self._config.device, self._dtype)
        with self._progress.task("trace one batch", 1) as advance:
            with (
                LayerRanges(self._loaded.model) as ranges,
                ProfilerSession(cuda=self._config.device == "cuda") as session,
            ):
                began = time.perf_counter_ns()
                tokens = self._generator(inputs)
                self._synchronize()
                profiled_ns = time.perf_counter_ns() - began
            session.export(path)
            advance(1)
        generated = self._generator.describe(tokens)
        failures = [
            f"{fqn}: takes no range, its time is its caller's" for fqn in ranges.uninstrumented
        ]
        if generated.new_tokens != unprofiled.generated.new_tokens:
            failures.append(
                f"the traced batch generated {list(generated.new_tokens)} tokens, the measured one "
                f"{list(unprofiled.generated.new_tokens)}"
            )
        return Traced(
            record=TracePass(
                batch=unprofiled.sample.batch,
                size=unprofiled.sample.size,
                decoder_steps=generated.decoder_steps,
                new_tokens=generated.new_tokens,
                profiled_ns=profiled_ns,
                unprofiled_ns=unprofiled.sample.generate_ns,
                root=ROOT_GENERATE,
            ),
            failures=tuple(failures),
        )

    def predictions(self, timed: Sequence[TimedBatch]) -> tuple[Prediction, ...]:
        """What was generated for every sample; empty without a processor to decode it."""
        if self._loaded.processor is None:
            return ()
        found = []
        for item in timed:
            texts = self._loaded.processor.batch_decode(
                item.generated.tokens, skip_special_tokens=True
            )
            for sample, text, length in zip(
                item.batch.samples, texts, item.generated.new_tokens, strict=True
            ):
                found.append(
                    Prediction(
                        sample_id=sample.sample_id,
                        batch=item.sample.batch,
                        prompt=sample.prompt,
                        prediction=text.strip(),
                        references=sample.references,
                        new_tokens=length,
                    )
                )
        return tuple(found)

    def _synchronize(self) -> None:
        if self._config.device == "cuda":
            torch.cuda.synchronize()


def _batches(source: SampleSource, samples: int, size: int) -> Iterator[Sequence[Sample]]:
    stream = source.samples(samples)
    while batch := tuple(itertools.islice(stream, size)):
        yield batch
