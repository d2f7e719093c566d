"""The FLOPs and bytes that one full batch executes, and the memory it takes."""

from __future__ import annotations

from layerscope.core.vocabulary import ROOT_GENERATE
from layerscope.instrument.cache_size import CacheSize
from layerscope.measure.flops import count_work
from layerscope.passes.draft import Draft
from layerscope.passes.session import Session
from layerscope.passes.trace import other_lengths
from layerscope.records import CountedWork, MemoryRecord
from layerscope.workload.compiled import uncompiled
from layerscope.workload.generation import Generated


def count(session: Session, draft: Draft) -> None:
    """Count the batch that was traced, eagerly, and look at its memory."""
    unprofiled, model, generator = draft.batches[0], session.model.model, session.generator
    inputs = session.inputs(unprofiled.batch)
    ran: list[Generated] = []
    with (
        session.progress.task("count FLOPs and bytes", 1, ticks=True) as advance,
        uncompiled(session.parts),
        CacheSize(model) as cache,
    ):
        draft.work = count_work(
            model,
            lambda: ran.append(generator.describe(generator(inputs))),
            root=ROOT_GENERATE,
        )
        advance(1)
    draft.memory = _memory(draft.work, session.model.record.param_bytes, cache.bytes)
    draft.failures += other_lengths("counted", ran[0], unprofiled)


def _memory(work: CountedWork, weights: int, cache: int | None) -> MemoryRecord:
    peaks: dict[str, int] = {}
    for row in work.rows:
        if row.memory_peak_bytes is not None:
            peaks[row.phase] = max(peaks.get(row.phase, 0), row.memory_peak_bytes)
    return MemoryRecord(
        weights_bytes=weights,
        kv_cache_bytes=cache,
        peak_bytes=work.memory_peak_bytes,
        peak_by_phase_bytes=peaks,
        method=work.memory_method,
    )
