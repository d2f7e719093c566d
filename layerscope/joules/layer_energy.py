"""A traced account, replayed layers and the run's own joules in; energy by layer, reconciled, out.

    raw(layer) = dynamic joules per call * calls + idle power * time of the layer in the real run

The dynamic joules are those above idle power, from replay. The time divides the unprofiled batch
without rest: a layer's device time, and the device's idle time before it, as the trace divides it,
scaled to the batch's own length. What was not replayed gets the dynamic power of its own kind, else
the mean of all that was, for its device time; where it is more than a quarter of all device time it
gets, in the same proportions, what the replayed layers leave of the joules above idle. All raw values
are then scaled by one factor to the joules measured end to end, in integer nanojoules.
The method's page is docs/method-energy-by-layer.md.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import hypot

from layerscope.joules.end_to_end_energy import NANO, EndToEnd, MeasuredWhole, end_to_end_of
from layerscope.joules.energy_checks import ColdCheck, PartCheck, cold_checks, part_checks
from layerscope.joules.energy_doubts import (
    above_cap,
    pauses,
    power_cap_w,
    slower_than_the_run,
    trusted,
)
from layerscope.joules.reconcile import reconcile
from layerscope.joules.replayed_rows import Key, ReplayedRows
from layerscope.records.layer_energy import ReplayRecord, ReplayUnit, Source
from layerscope.records.layer_table import LayerTable, flops_of
from layerscope.stats.replay_noise import PassEnergy
from layerscope.timeline.idle import Idle

# From this share of the device time on, what was replayed says what the rest draws.
MOSTLY = 0.75


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitEnergy:
    """One replayed unit, or the rest of a phase, in the traced batch. Joules unless the name says so.

    Attributes:
        source: "replay"; "apportioned": shared out by device time; None: no energy at all.
        device_s: device time of its rows (host time on a CPU run).
        wall_s: its part of the real run's time.
        dynamic_j: of one call, above idle power.
        dynamic_half_j: half the 95 % interval of `dynamic_j`: the scatter of its windows, and the error
            of idle power, which all windows of a run share.
        counter_j: how far `dynamic_j` may be off because of the counter's steps: a bound.
        replay_w: power while replaying.
        energy_j, half_j: reconciled, and half of its 95 % interval, which holds the error of the joules
            measured end to end, of the batch's time and of idle power, too.
        above_idle_j, above_idle_half_j: of all its calls, as replayed, before anything is reconciled.
        idle_j, idle_half_j: idle power over its part of the batch's time; with `above_idle_j`, `raw_j`.
        waiting_j: part of `energy_j`: idle power while the device waits for this unit's kernels.
        reason: why it was not replayed.
    """

    name: str
    kind: str
    phase: str
    source: Source | None
    layers: int
    calls: int
    device_s: float
    wall_s: float
    dynamic_j: float | None = None
    dynamic_half_j: float | None = None
    counter_j: float | None = None
    replay_s: float | None = None
    replay_w: float | None = None
    raw_j: float | None = None
    energy_j: float | None = None
    half_j: float | None = None
    waiting_j: float | None = None
    flops: int | None = None
    bytes_moved: int | None = None
    windows: int = 0
    how: str = ""
    inputs: str = ""
    above_idle_j: float | None = None
    above_idle_half_j: float | None = None
    idle_j: float | None = None
    idle_half_j: float | None = None
    reason: str | None = None
    why_plain: str | None = None
    temperature_c: int | None = None
    sm_clock_mhz: int | None = None
    throttled: tuple[str, ...] = ()

    @property
    def mean_w(self) -> float | None:
        """Energy over its part of the run's time."""
        return self.energy_j / self.wall_s if self.energy_j is not None and self.wall_s else None

    @property
    def j_per_flop(self) -> float | None:
        """Energy over executed FLOPs; None where none are counted."""
        return self.energy_j / self.flops if self.energy_j is not None and self.flops else None

    @property
    def j_per_byte(self) -> float | None:
        """Energy over operator traffic."""
        known = self.energy_j is not None and self.bytes_moved
        return self.energy_j / self.bytes_moved if known else None  # type: ignore[operator]


@dataclass(frozen=True, kw_only=True)
class LayerEnergy:
    """Energy by layer of the traced batch. With `reason`, there is none.

    Attributes:
        units: replayed ones in the order they run, then the rest by phase.
        by_row: reconciled nanojoules of each row, summing to `end_to_end.whole_nj`.
        factor: reconciled over raw, one for all rows.
    """

    end_to_end: EndToEnd | None = None
    units: tuple[UnitEnergy, ...] = ()
    parts: tuple[PartCheck, ...] = ()
    cold: tuple[ColdCheck, ...] = ()
    by_row: Mapping[Key, tuple[int, Source]] = dataclasses.field(default_factory=dict)
    raw_j: float = 0.0
    factor: float = 0.0
    notes: tuple[str, ...] = ()
    reason: str | None = None
    time_of: str = "device time"  # what `device_s` is; "host time" on a CPU run


def layer_energy(
    table: LayerTable,
    idle: Idle | None,
    replay: ReplayRecord,
    whole: MeasuredWhole,
    compiled: Sequence[str] = (),
) -> LayerEnergy:
    """Bring the pieces together.

    Args:
        table: the account of the traced batch, work counted.
        idle: of the same trace; None on a CPU run.
        whole: the joules and the time that the layers' are scaled to.
        compiled: FQNs of parts that ran compiled; what is known inside them is apportioned.
    """
    end_to_end = end_to_end_of(whole.energy, whole.trace, whole.latency)
    reason = replay.reason or (
        whole.energy.reason if whole.energy is not None else "no energy was measured"
    )
    if reason is None and end_to_end is None:
        reason = "no energy window of whole batches"
    if reason is not None or end_to_end is None:
        return LayerEnergy(reason=reason)
    time_of = "host time" if table.whole.device_sum_ns is None else "device time"
    at = ReplayedRows(table, idle, replay, end_to_end)
    replay = trusted(at, compiled)
    if replay is not at.replay:
        at = ReplayedRows(table, idle, replay, end_to_end)
    found = _Account(at, compiled, time_of).energy()
    waits = tuple(pauses(idle)) if idle is not None else ()
    doubts = (*above_cap(found.units, power_cap_w(replay)), *slower_than_the_run(found.units))
    return dataclasses.replace(found, notes=(*found.notes, *waits, *doubts))


def with_energy(table: LayerTable, found: LayerEnergy) -> LayerTable:
    """The table with each row's joules and where they come from, and the whole they sum to."""
    if found.end_to_end is None:
        return table
    rows = []
    for row in table.rows:
        held = found.by_row.get((row.layer, row.phase))
        if held is not None:
            row = dataclasses.replace(row, energy_j=held[0] / NANO, energy_source=held[1])
        rows.append(row)
    whole = dataclasses.replace(table.whole, energy_nj=found.end_to_end.whole_nj)
    return dataclasses.replace(table, rows=tuple(rows), whole=whole)


class _Account:
    """The working of `layer_energy`, one step a method."""

    def __init__(self, at: ReplayedRows, compiled: Sequence[str], time_of: str) -> None:
        self._at = at
        self._compiled = frozenset(compiled)
        self._time_of = time_of

    def energy(self) -> LayerEnergy:
        covered = {key for unit in self._at.measured for key in self._at.covers[unit.name]}
        rest = [key for key in self._at.rows if key not in covered]
        power_w = self._at.dynamic_w(self._at.measured)
        alike_w = self._at.alike_w()
        guessed = {key: alike_w.get(key, power_w) * self._at.device_s[key] for key in rest}
        scale = self._scale(covered, sum(guessed.values()))
        raw: dict[Key, float] = {}
        sources: dict[Key, Source] = {}
        for unit in self._at.measured:
            for key, part_j, source in self._shared(unit, self._at.raw_j(unit)):
                raw[key], sources[key] = part_j, source
        for key in rest:
            if self._at.device_s[key] or self._at.wall_s[key]:
                idle_j = self._at.whole.idle_w * self._at.wall_s[key]
                raw[key], sources[key] = scale * guessed[key] + idle_j, "apportioned"
        total = sum(raw.values())
        if total <= 0:
            return LayerEnergy(reason=f"the raw values sum to {total:.3g} J: nothing to reconcile")
        exact = reconcile(raw, self._at.whole.whole_nj)
        factor = self._at.whole.whole_nj / NANO / total
        units = [
            self._unit(unit, exact, factor)
            for unit in self._at.replay.units
            if unit.role == "layer"
        ]
        return LayerEnergy(
            end_to_end=self._at.whole,
            units=(*units, *self._rest(rest, raw, exact, factor)),
            parts=part_checks(self._at),
            cold=cold_checks(self._at),
            by_row={key: (nj, sources[key]) for key, nj in exact.items()},
            raw_j=total,
            factor=factor,
            notes=tuple(self._notes(power_w, covered, scaled=scale != 1.0)),
            time_of=self._time_of,
        )

    def _scale(self, covered: Collection[Key], guessed_j: float) -> float:
        """What the guess for everything not replayed is multiplied with; 1 leaves it."""
        if not self._at.measured or self._covered_share(covered) >= MOSTLY or guessed_j <= 0:
            return 1.0
        replayed_j = sum(self._at.dynamic_j(unit) for unit in self._at.measured)
        left_j = self._at.whole.above_idle_j - replayed_j
        return left_j / guessed_j if left_j > 0 else 1.0

    def _covered_share(self, covered: Collection[Key]) -> float:
        whole_s = sum(self._at.device_s.values())
        return sum(self._at.device_s[key] for key in covered) / whole_s if whole_s else 1.0

    def _shared(self, unit: ReplayUnit, raw_j: float) -> list[tuple[Key, float, Source]]:
        """A unit's joules on its rows: all on a single layer's own row, else by device time."""
        keys = self._at.covers[unit.name]
        heads = [
            (layer, unit.phase) for layer in unit.layers if (layer, unit.phase) in self._at.rows
        ]
        if self._compiled.intersection(unit.layers):
            inside = {key: self._at.device_s[key] for key in keys if self._at.device_s[key] > 0}
            if len(inside) > 1:
                return _by_share(inside, raw_j)
        if len(heads) == 1:
            return [(heads[0], raw_j, "replay")]
        times = {
            head: sum(self._at.device_s[k] for k in keys if head[0] in self._at.above[k])
            for head in heads
        }
        return _by_share(times, raw_j)

    def _unit(self, unit: ReplayUnit, exact: Mapping[Key, int], factor: float) -> UnitEnergy:
        keys = self._at.covers[unit.name]
        device_s = sum(self._at.device_s[key] for key in keys)
        wall_s = sum(self._at.wall_s[key] for key in keys)
        one = self._at.passes.get(unit.name)
        found = UnitEnergy(
            name=unit.name,
            kind=unit.kind,
            phase=unit.phase,
            source=None if one is None else "replay",
            layers=len(unit.layers),
            calls=unit.calls * len(unit.layers),
            device_s=device_s,
            wall_s=wall_s,
            flops=flops_of(self._at.rows[key] for key in keys),
            bytes_moved=_summed(self._at.rows[key].bytes_self for key in keys),
            how=unit.how,
            why_plain=unit.why_plain,
            inputs=unit.inputs,
            reason=unit.reason,
        )
        if one is None:
            return found
        per_call = len(unit.replayed) * len(unit.layers)
        half_j = self._dynamic_half_j(one)
        times = unit.calls / len(unit.replayed)
        states = [state for window in unit.windows for state in window.states]
        return dataclasses.replace(
            found,
            dynamic_j=one.dynamic_j / per_call,
            dynamic_half_j=None if half_j is None else half_j / per_call,
            counter_j=one.counter_j / per_call,
            replay_s=one.busy_s / per_call,
            replay_w=one.power_w,
            raw_j=self._at.raw_j(unit),
            energy_j=sum(exact.get(key, 0) for key in keys) / NANO,
            half_j=self._half_j(unit, one, wall_s, factor),
            above_idle_j=one.dynamic_j * times,
            above_idle_half_j=None if half_j is None else half_j * times,
            idle_j=self._at.whole.idle_w * wall_s,
            idle_half_j=hypot(self._idle_half_w() * wall_s, self._time_half_j(wall_s)),
            waiting_j=self._waiting_j(device_s, wall_s, factor),
            windows=one.windows,
            temperature_c=max((s.temperature_c for s in states if s.temperature_c), default=None),
            sm_clock_mhz=min((s.sm_clock_mhz for s in states if s.sm_clock_mhz), default=None),
            throttled=tuple(dict.fromkeys(r for w in unit.windows for r in w.throttled)),
        )

    def _half_j(
        self, unit: ReplayUnit, one: PassEnergy, wall_s: float, factor: float
    ) -> float | None:
        """The scatter of the windows; idle power's own error, which enters twice with signs; the error
        of the batch's time, and that of its joules, which the factor hands to every layer."""
        if one.half_width_j is None:
            return None
        whole = self._at.whole
        times = unit.calls / len(unit.replayed)
        idle_j = self._idle_half_w() * (wall_s - one.busy_s * times)
        of_whole = whole.reach * whole.whole_error_j / (whole.whole_nj / NANO)
        return factor * hypot(
            one.half_width_j * times,
            idle_j,
            self._time_half_j(wall_s),
            of_whole * self._at.raw_j(unit),
        )

    def _dynamic_half_j(self, one: PassEnergy) -> float | None:
        """Of a pass: idle power is taken off every window alike, so their scatter hides its error."""
        if one.half_width_j is None:
            return None
        return hypot(one.half_width_j, self._idle_half_w() * one.busy_s)

    def _time_half_j(self, wall_s: float) -> float:
        """Idle joules that the error of the batch's time is worth, for a part of that time."""
        whole = self._at.whole
        share = whole.reach * whole.wall_error_s / whole.wall_s if whole.wall_s else 0.0
        return whole.idle_w * wall_s * share

    def _waiting_j(self, device_s: float, wall_s: float, factor: float) -> float:
        return factor * self._at.whole.idle_w * max(wall_s - device_s, 0.0)

    def _idle_half_w(self) -> float:
        return self._at.whole.reach * self._at.whole.idle_error_w

    def _rest(
        self,
        rest: Sequence[Key],
        raw: Mapping[Key, float],
        exact: Mapping[Key, int],
        factor: float,
    ) -> list[UnitEnergy]:
        """What no unit holds, by phase: one line each, though its rows have their own joules."""
        phases: dict[str, list[Key]] = defaultdict(list)
        for key in rest:
            if key in raw:
                phases[key[0] if self._at.rows[key].is_bucket else key[1]].append(key)
        return [
            UnitEnergy(
                name=phase if phase.startswith("(") else f"(rest of {phase})",
                kind="(rest)",
                phase=phase,
                source="apportioned",
                layers=len(keys),
                calls=sum(self._at.rows[key].calls for key in keys),
                device_s=sum(self._at.device_s[key] for key in keys),
                wall_s=sum(self._at.wall_s[key] for key in keys),
                raw_j=sum(raw[key] for key in keys),
                above_idle_j=sum(
                    raw[key] - self._at.whole.idle_w * self._at.wall_s[key] for key in keys
                ),
                idle_j=self._at.whole.idle_w * sum(self._at.wall_s[key] for key in keys),
                energy_j=sum(exact[key] for key in keys) / NANO,
                waiting_j=self._waiting_j(
                    sum(self._at.device_s[key] for key in keys),
                    sum(self._at.wall_s[key] for key in keys),
                    factor,
                ),
                flops=flops_of(self._at.rows[key] for key in keys),
                bytes_moved=_summed(self._at.rows[key].bytes_self for key in keys),
            )
            for phase, keys in phases.items()
        ]

    def _notes(self, power_w: float, covered: Collection[Key], *, scaled: bool) -> list[str]:
        replay = self._at.replay
        windows = sum(len(unit.windows) for unit in replay.units)
        notes = [
            f"replay: {windows} windows in {replay.spent_s:.0f} s ({replay.stopped}); inputs "
            f"{replay.memory}"
        ]
        refused = [u for u in replay.units if u.role == "layer" and u.reason is not None]
        if refused:
            units = len(refused) + len(self._at.measured)
            notes.append(
                f"{len(refused)} of {units} units were not replayed and are apportioned by "
                f"{self._time_of}; the first: {refused[0].name}: {refused[0].reason}"
            )
        if scaled:
            notes.append(
                f"only {self._covered_share(covered):.0%} of the {self._time_of} was replayed: all the "
                "rest has what that leaves of the joules above idle, so that raw sum and factor check "
                "nothing"
            )
        elif self._at.measured:
            notes.append(
                "what was not replayed is apportioned at the power above idle of its own kind where "
                f"some of that was, else at {power_w:.1f} W, the mean of all that was"
            )
        else:
            notes.append(
                f"nothing was replayed: all joules above idle are shared by {self._time_of}"
            )
        slowed = [u for u in replay.units if any(w.throttled for w in u.windows)]
        if slowed:
            reasons = sorted({r for u in slowed for w in u.windows for r in w.throttled})
            notes.append(
                f"{len(slowed)} units were measured while the device throttled "
                f"({', '.join(reasons)})"
            )
        return notes


def _by_share(times: Mapping[Key, float], raw_j: float) -> list[tuple[Key, float, Source]]:
    whole = sum(times.values())
    return [
        (key, raw_j * (time / whole if whole else 1 / len(times)), "apportioned")
        for key, time in times.items()
    ]


def _summed(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
