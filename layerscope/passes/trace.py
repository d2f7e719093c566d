"""One full batch under ranges and profiler; Kineto's trace of it."""

from __future__ import annotations

import gc
import time

from layerscope.core.collector_pause import collector_at_rest
from layerscope.core.files import TRACE_FILE
from layerscope.core.vocabulary import ROOT_GENERATE
from layerscope.instrument.profiler import ProfilerSession
from layerscope.instrument.ranges import LayerRanges
from layerscope.measure.latency import TimedBatch, synchronize
from layerscope.passes.draft import Draft
from layerscope.passes.session import Session
from layerscope.records import TracePass
from layerscope.workload.generation import Generated


def trace(session: Session, draft: Draft) -> None:
    """Run the first full batch once more and write what the profiler saw."""
    unprofiled, device = draft.batches[0], session.config.device
    inputs = session.inputs(unprofiled.batch)
    with session.progress.task("trace one batch", 1) as advance:
        # A full collection stops the host for some tenths of a second, in whichever layer happens
        # to allocate the last object. In one traced batch that layer would be said to have waited,
        # and the batch's idle time and joules would be dealt out so.
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
        profiler.export(session.folder / TRACE_FILE)
        advance(1)
    generated = session.generator.describe(tokens)
    draft.files["trace"] = TRACE_FILE
    draft.failures += [
        f"{fqn}: takes no range, its caller has its time" for fqn in ranges.uninstrumented
    ]
    draft.failures += other_lengths("traced", generated, unprofiled)
    draft.trace = TracePass(
        batch=unprofiled.sample.batch,
        size=unprofiled.sample.size,
        decoder_steps=generated.decoder_steps,
        new_tokens=generated.new_tokens,
        profiled_ns=profiled_ns,
        unprofiled_ns=unprofiled.sample.generate_ns,
        root=ROOT_GENERATE,
    )


def other_lengths(what: str, generated: Generated, unprofiled: TimedBatch) -> list[str]:
    """The failure of a batch that generated other lengths than when it was measured."""
    if generated.new_tokens == unprofiled.generated.new_tokens:
        return []
    return [
        f"the {what} batch generated {list(generated.new_tokens)} tokens, the measured one "
        f"{list(unprofiled.generated.new_tokens)}"
    ]
