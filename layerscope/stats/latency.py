"""A run's record in, the statistics of its latency out, the host's drift included."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from layerscope.records import LatencySample, RunRecord
from layerscope.stats.statistics import TARGET, LatencySummary, summarise, widened

# A window of one batch says more of that batch than of its window.
_LEAST_BATCHES = 2


def full_batches(record: RunRecord) -> tuple[LatencySample, ...]:
    """The measured batches that count for latency: whole, after the warm-up, in order."""
    return tuple(s for s in record.latency if s.full and not s.warmup)


def latency_summary(record: RunRecord, target: float = TARGET) -> LatencySummary | None:
    """Statistics of `generate()` of a full batch; None where none was measured.

    The median is that of the measured batches. Its interval also covers how far the same batches
    lay from it in the energy windows, which ran seconds to a minute later without any profiler.
    """
    full = full_batches(record)
    if not full:
        return None
    summary = summarise([s.generate_ns for s in full], batch_size=record.batch_size, target=target)
    return widened(summary, later_paces(record), target)


def later_paces(record: RunRecord) -> tuple[float, ...]:
    """For each energy window, its batches' time over the measured time of the same batch."""
    if record.energy is None:
        return ()
    measured: dict[int, list[int]] = defaultdict(list)
    for sample in full_batches(record):
        measured[sample.batch].append(sample.generate_ns)
    found = []
    for window in record.energy.windows:
        paces = [
            (batch.end_ns - batch.start_ns) / median(measured[batch.batch])
            for batch in window.batches
            if batch.batch in measured
        ]
        if len(paces) >= _LEAST_BATCHES:
            found.append(median(paces))
    return tuple(found)
