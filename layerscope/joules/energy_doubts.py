"""Replayed units and a trace's idle time in; what of them is no measure of the run, named, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator

from layerscope.joules.replayed_rows import ReplayedRows
from layerscope.records.layer_energy import ReplayRecord
from layerscope.timeline.idle import Idle

# How much longer a compiled part may take alone than in the run, whose host may be faster or slower.
MOST_TIMES = 2.0
# A gap so long, and of such a share of all idle time, is no wait for one launch.
PAUSE_NS = 20_000_000
PAUSE_SHARE = 0.1


def trusted(at: ReplayedRows, compiled: Collection[str]) -> ReplayRecord:
    """The replay without compiled parts that took far longer alone than in the run.

    A part runs the same launches in both; where it does not, something else ran, such as the capture of
    another CUDA graph at every call.
    """
    units = []
    for unit in at.replay.units:
        wall_s = sum(at.wall_s[key] for key in at.covers.get(unit.name, ()))
        alone_s = 0.0
        if unit.name in at.passes and any(layer in compiled for layer in unit.layers):
            alone_s = at.passes[unit.name].busy_s * unit.calls / len(unit.replayed)
        if unit.role == "layer" and alone_s > MOST_TIMES * wall_s:
            reason = (
                f"replayed alone it took {alone_s * 1e3:,.1f} ms, in the run {wall_s * 1e3:,.1f} ms: it "
                "did something else"
            )
            unit = dataclasses.replace(unit, windows=(), reason=reason)
        units.append(unit)
    if all(unit is before for unit, before in zip(units, at.replay.units, strict=True)):
        return at.replay
    return dataclasses.replace(at.replay, units=tuple(units))


def pauses(idle: Idle) -> Iterator[str]:
    """Single waits that outweigh all others: they are dealt out as if every batch had them."""
    for row in idle.rows:
        if row.longest_ns >= max(PAUSE_NS, PAUSE_SHARE * idle.idle_ns):
            yield (
                f"one wait of {row.longest_ns / 1e6:,.1f} ms before {row.layer} ({row.phase}) is "
                f"{row.longest_ns / idle.idle_ns:.0%} of the trace's idle time, and the layer has that "
                "share of the batch's idle joules: too much if the host paused there in this batch alone"
            )
