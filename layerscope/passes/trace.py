"""One full batch under ranges and profiler; Kineto's trace of it."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from layerscope.core.collector_pause import collector_at_rest
from layerscope.core.files import TRACE_FILE, further_trace_file
from layerscope.core.vocabulary import ROOT_GENERATE
from layerscope.instrument.profiler import ProfilerSession
from layerscope.instrument.ranges import LayerRanges
from layerscope.measure.latency import TimedBatch, synchronize
from layerscope.passes.draft import Draft
from layerscope.passes.session import Session
from layerscope.records import TracePass
from layerscope.workload.generation import Generated


def trace(session: Session, draft: Draft) -> None:
    """Run the first full batch under the profiler as often as asked; write what it saw each time."""
    unprofiled = draft.batches[0]
    inputs = session.inputs(unprofiled.batch)
    times = session.config.traces
    with session.progress.task("trace one batch", times) as advance:
        profiled_ns, generated, ranges = _profiled(session, inputs, session.folder / TRACE_FILE)
        advance(1)
        draft.files["trace"] = TRACE_FILE
        draft.failures += [
            f"{fqn}: takes no range, its caller has its time" for fqn in ranges.uninstrumented
        ]
        draft.failures += other_lengths("traced", generated, unprofiled)
        for number in range(2, times + 1):
            file = session.folder / further_trace_file(number)
            again = _profiled(session, inputs, file)[1]
            draft.files[f"trace_{number}"] = file.name
            draft.failures += other_lengths(f"traced (time {number})", again, unprofiled)
            draft.further_traces = (*draft.further_traces, file)
            advance(1)
    draft.trace = TracePass(
        batch=unprofiled.sample.batch,
        size=unprofiled.sample.size,
        decoder_steps=generated.decoder_steps,
        new_tokens=generated.new_tokens,
        profiled_ns=profiled_ns,
        unprofiled_ns=unprofiled.sample.generate_ns,
        root=ROOT_GENERATE,
    )


def _profiled(
    session: Session, inputs: Mapping[str, torch.Tensor], file: Path
) -> tuple[int, Generated, LayerRanges]:
    """Host time of one profiled `generate()`, ns, what it generated, and the ranges it ran under."""
    device = session.config.device
    # A full collection stops the host for some tenths of a second, in whichever layer happens to
    # allocate the last object. In one traced batch that layer would be said to have waited, and the
    # batch's idle time and joules would be dealt out so.
    gc.collect()
    with (
        collector_at_rest(),
        LayerRanges(session.model.model, roles=session.model.record.roles) as ranges,
        ProfilerSession(cuda=device == "cuda") as profiler,
    ):
        began = time.perf_counter_ns()
        tokens = session.generator(inputs)
        synchronize(device)
        profiled_ns = time.perf_counter_ns() - began
    profiler.export(file)
    return profiled_ns, session.generator.describe(tokens), ranges


def other_lengths(what: str, generated: Generated, unprofiled: TimedBatch) -> list[str]:
    """The failure of a batch that generated other lengths than when it was measured."""
    if generated.new_tokens == unprofiled.generated.new_tokens:
        return []
    return [
        f"the {what} batch generated {list(generated.new_tokens)} tokens, the measured one "
        f"{list(unprofiled.generated.new_tokens)}"
    ]
