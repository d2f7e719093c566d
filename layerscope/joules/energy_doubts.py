"""Replayed units and a trace's idle time in; what of them is no measure of the run, named, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from layerscope.core.words import counted
from layerscope.joules.replayed_rows import ReplayedRows
from layerscope.records.layer_energy import ReplayRecord
from layerscope.timeline.idle import Idle

# How much longer a compiled part may take alone than in the run, whose host may be faster or slower.
MOST_TIMES = 2.0
# A gap so long, and of such a share of all idle time, is no wait for one launch.
PAUSE_NS = 20_000_000
PAUSE_SHARE = 0.1
# Replayed so much longer than in the run, a layer ran at other clocks.
SLOWER = 0.1
GRAPH = "CUDA graph"


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


def power_cap_w(replay: ReplayRecord) -> float | None:
    """The devices' power limits together, as said in the replay's windows; None where they were not."""
    limits: dict[str, float] = {}
    for unit in replay.units:
        for window in unit.windows:
            for state in window.states:
                if state.power_limit_w is not None:
                    limits[state.device] = state.power_limit_w
    return sum(limits.values()) if limits else None


class Drawn(Protocol):
    """What these doubts ask of a unit's energy; see `UnitEnergy`."""

    @property
    def name(self) -> str: ...
    @property
    def how(self) -> str: ...
    @property
    def calls(self) -> int: ...
    @property
    def device_s(self) -> float: ...
    @property
    def wall_s(self) -> float: ...
    @property
    def replay_s(self) -> float | None: ...
    @property
    def mean_w(self) -> float | None: ...


def above_cap(units: Sequence[Drawn], cap_w: float | None) -> Iterator[str]:
    """Units whose joules over their part of the run's time are more than the board may draw."""
    if cap_w is None:
        return
    over = [(unit.mean_w or 0.0, unit.name) for unit in units if (unit.mean_w or 0.0) > cap_w]
    if over:
        watts, name = max(over)
        yield (
            f"{counted(len(over), 'unit')} above the board's cap of {cap_w:.0f} W over their part of "
            f"the run, most {name}: {watts:.0f} W; their joules or their part of the time is wrong"
        )


def slower_than_the_run(units: Sequence[Drawn]) -> Iterator[str]:
    """Units that took longer alone than their kernels did in the run: it clocked otherwise then.

    Only where the replay waits for nothing: as a CUDA graph, or where the run hardly waited.
    """
    slow = []
    for unit in units:
        alone_s = (unit.replay_s or 0.0) * unit.calls
        busy = unit.how == GRAPH or unit.wall_s <= (1 + SLOWER) * unit.device_s
        if busy and unit.device_s and alone_s > (1 + SLOWER) * unit.device_s:
            slow.append((alone_s / unit.device_s - 1, unit.name))
    if slow:
        most, name = max(slow)
        yield (
            f"{counted(len(slow), 'unit')} took over {SLOWER:.0%} longer replayed than in the run, most "
            f"{name}: {most:.0%}; the run's clocks were others, and so were its joules"
        )
