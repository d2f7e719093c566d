"""A loaded model and its data in, the raw results of each pass out, in the contract's order."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from layerscope.core.collector_pause import collector_at_rest
from layerscope.core.errors import DataError
from layerscope.core.progress import Progress
from layerscope.core.vocabulary import ROOT_GENERATE
from layerscope.instrument.cache_size import CacheSize
from layerscope.instrument.first_calls import FirstConvolutionCalls
from layerscope.instrument.profiler import ProfilerSession
from layerscope.instrument.ranges import LayerRanges
from layerscope.measure.flops import count_work
from layerscope.measure.latency import BatchTimer, TimedBatch, synchronize
from layerscope.private.names import require
from layerscope.private.operators import COUNTED
from layerscope.private.profiler import FAST_RANGE, SESSION
from layerscope.records import (
    CountedWork,
    LatencySample,
    MemoryRecord,
    Prediction,
    RunConfig,
    TracePass,
)
from layerscope.run.captures import captures_noted
from layerscope.run.eager_guard import EagerRun, against_eager
from layerscope.run.optimized import CompiledModel
from layerscope.run.predictions import predictions_of
from layerscope.stats.statistics import StoppingRule
from layerscope.workload.batching import Batch, Batcher
from layerscope.workload.compiled import uncompiled
from layerscope.workload.data.sample import Sample, SampleSource
from layerscope.workload.dtype_layout import torch_dtype
from layerscope.workload.generation import Generated, Generator
from layerscope.workload.model import LoadedModel

# Batches kept prepared for repeats and energy windows: enough to vary, few enough for memory.
KEPT_BATCHES = 8
_FIRST_TOKEN_RUNS = 8
_FIRST_TOKEN_LIMIT_S = 5.0
# The second call of a shape may still capture CUDA graphs; the third replays.
_SHAPE_WARMUPS = 3
_CAPTURING_ROUND = 1  # of the warm-up, from 0


@dataclass(frozen=True)
class Measured:
    """The unprofiled passes. `kept` are prepared full batches, for repeats and energy."""

    warmups: tuple[LatencySample, ...]
    batches: tuple[TimedBatch, ...]  # each batch of the data once, in order
    repeats: tuple[LatencySample, ...]
    stopped: str
    first_token: tuple[LatencySample, ...]
    first_call_us: dict[str, float]
    kept: tuple[Batch, ...]

    @property
    def latency(self) -> tuple[LatencySample, ...]:
        """All raw samples, in the order they ran."""
        return (*self.warmups, *(item.sample for item in self.batches), *self.repeats)


@dataclass(frozen=True)
class Traced:
    """What the traced pass leaves beside the trace file."""

    record: TracePass
    failures: tuple[str, ...]


@dataclass(frozen=True)
class Counted:
    """What the count pass found; `failures` say where it ran differently from the measured run."""

    work: CountedWork
    memory: MemoryRecord
    failures: tuple[str, ...]


class Passes:
    """The passes of one run over one loaded model.

    Raises:
        EnvironmentProblem: this torch lacks what one of them needs.
    """

    def __init__(
        self,
        config: RunConfig,
        loaded: LoadedModel,
        progress: Progress,
        compiled: CompiledModel | None = None,
    ) -> None:
        # Here, not after minutes of measuring.
        require((*COUNTED, FAST_RANGE, *SESSION) if config.trace else COUNTED)
        self._compiled = compiled.parts if compiled is not None else None
        graphed = config.optimization == "cudagraphs"
        self._watch = compiled.watch if compiled is not None and graphed else None
        self._shapes: set[tuple[object, ...]] = set()
        self._config = config
        self._loaded = loaded
        self._progress = progress
        self.generator = Generator(loaded.model, config)
        self._batcher = Batcher(config, loaded.processor, loaded.model.config)
        self._dtype = torch_dtype(config.dtype)
        self._timer = BatchTimer(
            self.generator,
            self._batcher,
            config.device,
            self._dtype,
            config.batch_size,
            for_warmup=self._to_the_limit() if graphed else None,
        )

    def _to_the_limit(self) -> Generator:
        """Answers as long as any may be.

        Each further decoder step is a CUDA graph of its own: an answer longer than all before it
        would have graphs captured in measured time.
        """
        longest = dataclasses.replace(self._config, min_new_tokens=self._config.max_new_tokens)
        return Generator(self._loaded.model, longest, caches=self.generator.caches)

    def measure(self, source: SampleSource) -> Measured:
        """Warm up on the first batch, time every batch once, then repeat full batches.

        Repeats end when the median's interval is narrow enough or the limit is reached. No hooks,
        no profiler; only the very first warm-up notes the convolutions' first calls.

        Raises:
            DataError: the data ends before one batch is full.
        """
        chunks = _chunks(source, self._config.samples, self._config.batch_size)
        first = next(chunks, ())
        if len(first) < self._config.batch_size:
            raise DataError(
                f"{source.name}: only {len(first)} usable samples, one batch needs "
                f"{self._config.batch_size}; use a smaller --batch or more data."
            )
        warmups, first_calls = self._warm_up(first)
        count = -(-self._config.samples // self._config.batch_size)
        batches: list[TimedBatch] = []
        kept: list[Batch] = []
        with self._progress.task("measure, unprofiled", count) as advance:
            for index, samples in enumerate(itertools.chain([first], chunks)):
                batch, preprocess_ns = self._timer.prepare(samples, index)
                if self._compiled is not None:
                    warmups = (*warmups, *self._warm_shape(batch, preprocess_ns))
                with uncompiled(self._compiled if len(samples) < len(first) else None):
                    # A partial batch is not timed; a graph for it alone would be made in vain.
                    timed = self._timer.run(batch, preprocess_ns)
                keep = timed.sample.full and len(kept) < KEPT_BATCHES
                if keep:
                    kept.append(timed.batch)
                # The inputs of the other batches would only fill the memory.
                batches.append(timed if keep else _without_inputs(timed))
                advance(1)
        repeats, stopped = self._repeat([t.sample for t in batches], kept)
        return Measured(
            warmups=warmups,
            batches=tuple(batches),
            repeats=repeats,
            stopped=stopped,
            first_token=self._first_token(kept),
            first_call_us=first_calls,
            kept=tuple(kept),
        )

    def _warm_up(
        self, samples: Sequence[Sample]
    ) -> tuple[tuple[LatencySample, ...], dict[str, float]]:
        done: list[LatencySample] = []
        first_calls: dict[str, float] = {}
        rounds = self._config.warmup
        if self._watch is not None:
            # The first call of a graph runs it eagerly, the second captures: that one is looked at.
            ProfilerSession.prepare(cuda=True)
            rounds = max(rounds, _CAPTURING_ROUND + 1)
        with self._progress.task("warm up", rounds) as advance:
            for number in range(rounds):
                if self._compiled is not None:
                    # No wrapper around a convolution here: torch would compile it with the part.
                    with self._compiled.warming_up(), self._noting_captures(number):
                        done.append(self._timer.first(samples, 0, warmup=True).sample)
                elif number == 0:
                    with FirstConvolutionCalls(self._loaded.model) as calls:
                        done.append(self._timer.first(samples, 0, warmup=True).sample)
                    first_calls = calls.us
                else:
                    done.append(self._timer.first(samples, 0, warmup=True).sample)
                advance(1)
        return tuple(done), first_calls

    def _noting_captures(self, number: int) -> AbstractContextManager[None]:
        if self._watch is None or number != _CAPTURING_ROUND:
            return nullcontext()
        return captures_noted(self._watch, cuda=self._config.device == "cuda")

    def _warm_shape(self, batch: Batch, preprocess_ns: int) -> tuple[LatencySample, ...]:
        """Compile for this batch's shape, where it is new, outside of what is measured."""
        assert self._compiled is not None
        shape = tuple((name, tuple(value.shape)) for name, value in sorted(batch.inputs.items()))
        if shape in self._shapes or len(batch.samples) < self._config.batch_size:
            return ()
        self._shapes.add(shape)
        with self._compiled.warming_up():
            done = [
                self._timer.run(batch, preprocess_ns, warmup=True) for _ in range(_SHAPE_WARMUPS)
            ]
        return tuple(item.sample for item in done)

    def against_eager(self, batches: Sequence[TimedBatch]) -> EagerRun | None:
        """The quality guard of a compiled run, on the batches that are kept; None when eager."""
        if self._compiled is None or self._config.num_beams > 1:
            return None
        eager = dataclasses.replace(self._config, optimization="eager")
        full = [item for item in batches if item.batch.inputs and item.sample.full]
        with (
            self._progress.task("the same samples, eagerly", 1) as advance,
            uncompiled(self._compiled),
        ):
            found = against_eager(self._loaded.model, eager, full)
            advance(1)
        return found

    def _repeat(
        self, first: Sequence[LatencySample], kept: Sequence[Batch]
    ) -> tuple[tuple[LatencySample, ...], str]:
        rule = StoppingRule(limit_s=self._config.measure_limit_s)
        times = [float(sample.generate_ns) for sample in first if sample.full]
        repeats: list[LatencySample] = []
        began = time.monotonic()
        with self._progress.task("repeat for a narrow interval") as advance:
            for number, batch in enumerate(itertools.cycle(kept)):
                stopped = rule.reason_to_stop(times, time.monotonic() - began)
                if stopped is not None:
                    return tuple(repeats), stopped
                sample = self._timer.again(batch, 1 + number // len(kept)).sample
                repeats.append(sample)
                times.append(float(sample.generate_ns))
                advance(1)
        raise AssertionError("a cycle over the kept batches has no end")

    def _first_token(self, kept: Sequence[Batch]) -> tuple[LatencySample, ...]:
        """generate() of one token, in a window of its own: the time to the first token."""
        generator = Generator(
            self._loaded.model, self._config, only_first=True, caches=self.generator.caches
        )
        done: list[LatencySample] = []
        began = time.monotonic()
        with self._progress.task("time to first token", _FIRST_TOKEN_RUNS) as advance:
            for number, batch in enumerate(
                itertools.islice(itertools.cycle(kept), _FIRST_TOKEN_RUNS)
            ):
                if done and time.monotonic() - began > _FIRST_TOKEN_LIMIT_S:
                    break
                done.append(self._timer.again(batch, number // len(kept), generator).sample)
                advance(1)
        return tuple(done)

    def trace(self, unprofiled: TimedBatch, path: Path) -> Traced:
        """Run the same full batch once more under ranges and profiler and write Kineto's trace."""
        inputs = unprofiled.batch.to(self._config.device, self._dtype)
        with self._progress.task("trace one batch", 1) as advance:
            # A full collection stops the host for some tenths of a second, in whichever layer happens
            # to allocate the last object. In one traced batch that layer would be said to have waited,
            # and the batch's idle time and joules would be dealt out so.
            gc.collect()
            with (
                collector_at_rest(),
                LayerRanges(self._loaded.model) as ranges,
                ProfilerSession(cuda=self._config.device == "cuda") as session,
            ):
                began = time.perf_counter_ns()
                tokens = self.generator(inputs)
                synchronize(self._config.device)
                profiled_ns = time.perf_counter_ns() - began
            session.export(path)
            advance(1)
        generated = self.generator.describe(tokens)
        failures = [
            f"{fqn}: takes no range, its caller has its time" for fqn in ranges.uninstrumented
        ]
        failures += _same_lengths("traced", generated, unprofiled)
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

    def count(self, unprofiled: TimedBatch) -> Counted:
        """Count the FLOPs and bytes of the same full batch, and look at its memory."""
        inputs = unprofiled.batch.to(self._config.device, self._dtype)
        kept: list[Generated] = []
        with (
            self._progress.task("count FLOPs and bytes", 1) as advance,
            uncompiled(self._compiled),
            CacheSize(self._loaded.model) as cache,
        ):
            work = count_work(
                self._loaded.model,
                lambda: kept.append(self.generator.describe(self.generator(inputs))),
                root=ROOT_GENERATE,
            )
            advance(1)
        peaks: dict[str, int] = {}
        for row in work.rows:
            if row.memory_peak_bytes is not None:
                peaks[row.phase] = max(peaks.get(row.phase, 0), row.memory_peak_bytes)
        memory = MemoryRecord(
            weights_bytes=self._loaded.record.param_bytes,
            kv_cache_bytes=cache.bytes,
            peak_bytes=work.memory_peak_bytes,
            peak_by_phase_bytes=peaks,
            method=work.memory_method,
        )
        return Counted(work, memory, tuple(_same_lengths("counted", kept[0], unprofiled)))

    def predictions(self, timed: Sequence[TimedBatch]) -> tuple[Prediction, ...]:
        """What was generated for every sample; empty without a processor to decode it."""
        if self._loaded.processor is None:
            return ()
        return tuple(
            prediction
            for item in timed
            for prediction in predictions_of(self._loaded.processor, item.batch, item.generated)
        )


def _without_inputs(timed: TimedBatch) -> TimedBatch:
    samples = tuple(dataclasses.replace(s, image=None) for s in timed.batch.samples)
    batch = dataclasses.replace(timed.batch, inputs={}, samples=samples)
    return dataclasses.replace(timed, batch=batch)


def _same_lengths(what: str, generated: Generated, unprofiled: TimedBatch) -> list[str]:
    if generated.new_tokens == unprofiled.generated.new_tokens:
        return []
    return [
        f"the {what} batch generated {list(generated.new_tokens)} tokens, the measured one "
        f"{list(unprofiled.generated.new_tokens)}"
    ]


def _chunks(source: SampleSource, samples: int, size: int) -> Iterator[Sequence[Sample]]:
    stream = source.samples(samples)
    while batch := tuple(itertools.islice(stream, size)):
        yield batch
