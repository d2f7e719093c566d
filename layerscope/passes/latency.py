"""The unprofiled time of `generate()`: every batch once, then again until the interval is narrow."""

from __future__ import annotations

import dataclasses
import itertools
import time

from layerscope.measure.latency import TimedBatch
from layerscope.models.readers import has_encoder
from layerscope.passes.draft import Draft
from layerscope.passes.session import Session
from layerscope.records import LatencySample
from layerscope.stats.statistics import StoppingRule
from layerscope.workload.batching import Batch
from layerscope.workload.compiled import CompiledParts, uncompiled

# Batches kept prepared for repeats and energy windows: enough to vary, few enough for memory.
KEPT_BATCHES = 8
_QUICK_LIMIT_S = 3.0
# The second call of a shape may still capture CUDA graphs; the third replays.
_SHAPE_WARMUPS = 3


def latency(session: Session, draft: Draft) -> None:
    """Time every batch once, then repeat full batches.

    Repeats end when the median's interval is narrow enough or the limit is reached. No hooks, no
    profiler.
    """
    _each_once(session, draft)
    _repeat(session, draft)


def _each_once(session: Session, draft: Draft) -> None:
    config, timer = session.config, session.timer
    shapes = _Shapes(session)
    batches: list[TimedBatch] = []
    kept: list[Batch] = []
    count = -(-config.samples // config.batch_size)
    with session.progress.task("measure, unprofiled", count) as advance:
        for index, samples in enumerate(itertools.chain([draft.first], session.chunks)):
            batch, preprocess_ns = timer.prepare(samples, index)
            if session.parts is not None:
                draft.warmups += shapes.warm_up(session.parts, batch, preprocess_ns)
            with uncompiled(session.parts if len(samples) < len(draft.first) else None):
                # A partial batch is not timed; a graph for it alone would be made in vain.
                timed = timer.run(batch, preprocess_ns)
            keep = timed.sample.full and len(kept) < KEPT_BATCHES
            if keep:
                kept.append(timed.batch)
            # The inputs of the other batches would only fill the memory.
            batches.append(timed if keep else _without_inputs(timed))
            advance(1)
    draft.batches, draft.kept = tuple(batches), tuple(kept)


class _Shapes:
    """The shapes of inputs that a compiled run has met."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._drops_masks = not has_encoder(session.model.model)
        self._met: set[tuple[object, ...]] = set()

    def warm_up(
        self, parts: CompiledParts, batch: Batch, preprocess_ns: int
    ) -> tuple[LatencySample, ...]:
        """Compile for this batch's shape, where it is new, outside of what is measured."""
        shape: tuple[object, ...] = tuple(
            (name, tuple(value.shape)) for name, value in sorted(batch.inputs.items())
        )
        if self._drops_masks:
            # generate() goes on without a mask that leaves nothing out: that is another graph.
            mask = batch.inputs.get("attention_mask")
            shape = (*shape, mask is not None and bool((mask == 1).all()))
        if shape in self._met or len(batch.samples) < self._session.config.batch_size:
            return ()
        self._met.add(shape)
        with parts.warming_up():
            done = [
                self._session.timer.run(batch, preprocess_ns, warmup=True)
                for _ in range(_SHAPE_WARMUPS)
            ]
        return tuple(item.sample for item in done)


def _repeat(session: Session, draft: Draft) -> None:
    limit_s = session.config.measure_limit_s
    rule = StoppingRule(limit_s=min(limit_s, _QUICK_LIMIT_S) if session.config.quick else limit_s)
    times = [float(item.sample.generate_ns) for item in draft.batches if item.sample.full]
    repeats: list[LatencySample] = []
    began = time.monotonic()
    with session.progress.task("repeat for a narrow interval") as advance:
        for number, batch in enumerate(itertools.cycle(draft.kept)):
            draft.stopped = rule.reason_to_stop(times, time.monotonic() - began)
            if draft.stopped is not None:
                break
            sample = session.timer.again(batch, 1 + number // len(draft.kept)).sample
            repeats.append(sample)
            times.append(float(sample.generate_ns))
            advance(1)
    draft.repeats = tuple(repeats)


def _without_inputs(timed: TimedBatch) -> TimedBatch:
    samples = tuple(dataclasses.replace(s, image=None) for s in timed.batch.samples)
    batch = dataclasses.replace(timed.batch, inputs={}, samples=samples)
    return dataclasses.replace(timed, batch=batch)
