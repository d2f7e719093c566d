"""A traced account, replayed layers and the run's own joules in; energy by layer, reconciled, out.

    raw(layer) = dynamic joules per call * calls + idle power * time of the layer in the real run

The dynamic joules are those above idle power, from replay. The time divides the unprofiled batch
without rest: a layer's device time, and the device's idle time before it, as the trace divides it,
scaled to the batch's own length. What was not replayed gets the mean dynamic power of what was, for
its device time. All raw values are then scaled by one factor to the joules measured end to end, in
integer nanojoules. The method's page is docs/method-energy-by-layer.md.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

from layerscope.analysis.end_to_end_energy import NANO, EndToEnd, end_to_end_of
from layerscope.analysis.idle import Idle
from layerscope.analysis.real_time import wall_by_row
from layerscope.analysis.reconcile import reconcile
from layerscope.measure.replay.noise import PassEnergy, pass_energies
from layerscope.measure.statistics import t_975
from layerscope.records.energy_record import EnergyRecord
from layerscope.records.layer_energy import ReplayRecord, ReplayUnit, Source
from layerscope.records.layer_table import LayerRow, LayerTable
from layerscope.records.run_record import LatencySample, TracePass

Key = tuple[str, str]  # (layer, phase)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitEnergy:
    """One replayed unit, or the rest of a phase, in the traced batch. Joules unless the name says so.

    Attributes:
        source: "replay"; "apportioned": shared out by device time; None: no energy at all.
        device_s: device time of its rows (host time on a CPU run).
        wall_s: its part of the real run's time.
        dynamic_j: of one call, above idle power.
        dynamic_half_j: half the 95 % interval of `dynamic_j`, from the scatter of its windows.
        counter_j: how far `dynamic_j` may be off because of the counter's steps: a bound.
        replay_w: power while replaying.
        energy_j, half_j: reconciled, and half of its 95 % interval.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCheck:
    """A part replayed in one go against the sum over its layers; dynamic joules of the traced batch.

    Attributes:
        by_call: (number of the call from 1, its dynamic joules) where calls were replayed singly.
        covered: share of the part's device time that the layers cover.
    """

    part: str
    phase: str
    whole_j: float
    layers_j: float
    covered: float
    whole_s: float
    layers_s: float
    whole_half_j: float | None
    by_call: tuple[tuple[int, float], ...]

    @property
    def ratio(self) -> float:
        """Sum over the layers over the whole."""
        return self.layers_j / self.whole_j


@dataclass(frozen=True, kw_only=True, slots=True)
class ColdCheck:
    """A unit with the device's cache overwritten before every call, against the same unit warm."""

    name: str
    warm_j: float
    cold_j: float
    half_j: float | None

    @property
    def ratio(self) -> float:
        """Cold over warm."""
        return self.cold_j / self.warm_j


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
    energy: EnergyRecord | None,
    trace: TracePass,
    latency: Sequence[LatencySample],
    compiled: Sequence[str] = (),
) -> LayerEnergy:
    """Bring the pieces together.

    Args:
        table: the account of the traced batch, work counted.
        idle: of the same trace; None on a CPU run.
        compiled: FQNs of parts that ran compiled; what is known inside them is apportioned.
    """
    end_to_end = end_to_end_of(energy, trace, latency)
    reason = replay.reason or (energy.reason if energy else "no energy was measured")
    if reason is None and end_to_end is None:
        reason = "no energy window of whole batches"
    if reason is not None or end_to_end is None:
        return LayerEnergy(reason=reason)
    return _Account(table, idle, replay, end_to_end, compiled).energy()


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

    def __init__(
        self,
        table: LayerTable,
        idle: Idle | None,
        replay: ReplayRecord,
        end_to_end: EndToEnd,
        compiled: Sequence[str],
    ) -> None:
        self._table = table
        self._replay = replay
        self._whole = end_to_end
        self._compiled = frozenset(compiled)
        on_device = table.whole.device_sum_ns is not None
        self._time_of = "device time" if on_device else "host time"
        self._rows = {(row.layer, row.phase): row for row in table.rows}
        self._above = {key: frozenset(_upwards(key[0])) for key in self._rows}
        self._device_s = {key: _device_s(row, table) for key, row in self._rows.items()}
        self._wall_s = wall_by_row(table, idle, end_to_end.wall_s)
        self._passes = pass_energies(replay.units, end_to_end.idle_w)
        self._covers = {
            unit.name: self._rows_of(unit) for unit in replay.units if unit.role == "layer"
        }

    def energy(self) -> LayerEnergy:
        measured = [u for u in self._replay.units if u.role == "layer" and u.name in self._passes]
        covered = {key for unit in measured for key in self._covers[unit.name]}
        rest = [key for key in self._rows if key not in covered]
        power_w = self._dynamic_w(measured)
        alike_w = self._alike_w(measured)
        raw: dict[Key, float] = {}
        sources: dict[Key, Source] = {}
        for unit in measured:
            for key, part_j, source in self._shared(unit, self._raw_j(unit)):
                raw[key], sources[key] = part_j, source
        for key in rest:
            if self._device_s[key] or self._wall_s[key]:
                idle_j = self._whole.idle_w * self._wall_s[key]
                dynamic_j = alike_w.get(key, power_w) * self._device_s[key]
                raw[key], sources[key] = dynamic_j + idle_j, "apportioned"
        total = sum(raw.values())
        if total <= 0:
            return LayerEnergy(reason=f"the raw values sum to {total:.3g} J: nothing to reconcile")
        exact = reconcile(raw, self._whole.whole_nj)
        factor = self._whole.whole_nj / NANO / total
        units = [
            self._unit(unit, exact, factor) for unit in self._replay.units if unit.role == "layer"
        ]
        return LayerEnergy(
            end_to_end=self._whole,
            units=(*units, *self._rest(rest, raw, exact, factor)),
            parts=tuple(self._parts(measured)),
            cold=tuple(self._cold()),
            by_row={key: (nj, sources[key]) for key, nj in exact.items()},
            raw_j=total,
            factor=factor,
            notes=tuple(self._notes(measured, power_w)),
            time_of=self._time_of,
        )

    def _rows_of(self, unit: ReplayUnit) -> list[Key]:
        """The unit's rows: its layers and all below them, in its phase."""
        heads = set(unit.layers)
        return [
            key
            for key in self._rows
            if key[1] == unit.phase and not heads.isdisjoint(self._above[key])
        ]

    def _dynamic_w(self, measured: Sequence[ReplayUnit]) -> float:
        """Mean power above idle over the device time of what was replayed.

        Where nothing was, that of the whole run: then every row is apportioned, by device time.
        """
        device_s = sum(self._device_s[k] for u in measured for k in self._covers[u.name])
        if device_s:
            return sum(self._dynamic_j(unit) for unit in measured) / device_s
        above_j = self._whole.whole_nj / NANO - self._whole.idle_w * self._whole.wall_s
        everywhere_s = sum(self._device_s.values())
        return above_j / everywhere_s if everywhere_s else 0.0

    def _alike_w(self, measured: Sequence[ReplayUnit]) -> dict[Key, float]:
        """Power above idle for the rows of units not replayed, of those of their kind that were.

        A block draws what its stack's other blocks draw, and not what other parts do.
        """
        kinds: dict[Key, list[ReplayUnit]] = defaultdict(list)
        for unit in measured:
            kinds[unit.kind, unit.phase].append(unit)
        return {
            key: self._dynamic_w(kinds[unit.kind, unit.phase])
            for unit in self._replay.units
            if unit.role == "layer"
            and unit.name not in self._passes
            and (unit.kind, unit.phase) in kinds
            for key in self._covers[unit.name]
        }

    def _dynamic_j(self, unit: ReplayUnit) -> float:
        """Of all the unit's calls in the traced batch."""
        return self._passes[unit.name].dynamic_j * unit.calls / len(unit.replayed)

    def _raw_j(self, unit: ReplayUnit) -> float:
        wall_s = sum(self._wall_s[key] for key in self._covers[unit.name])
        return self._dynamic_j(unit) + self._whole.idle_w * wall_s

    def _shared(self, unit: ReplayUnit, raw_j: float) -> list[tuple[Key, float, Source]]:
        """A unit's joules on its rows: all on a single layer's own row, else by device time."""
        keys = self._covers[unit.name]
        heads = [(layer, unit.phase) for layer in unit.layers if (layer, unit.phase) in self._rows]
        if self._compiled.intersection(unit.layers):
            inside = {key: self._device_s[key] for key in keys if self._device_s[key] > 0}
            if len(inside) > 1:
                return _by_share(inside, raw_j)
        if len(heads) == 1:
            return [(heads[0], raw_j, "replay")]
        times = {
            head: sum(self._device_s[k] for k in keys if head[0] in self._above[k])
            for head in heads
        }
        return _by_share(times, raw_j)

    def _unit(self, unit: ReplayUnit, exact: Mapping[Key, int], factor: float) -> UnitEnergy:
        keys = self._covers[unit.name]
        device_s = sum(self._device_s[key] for key in keys)
        wall_s = sum(self._wall_s[key] for key in keys)
        one = self._passes.get(unit.name)
        found = UnitEnergy(
            name=unit.name,
            kind=unit.kind,
            phase=unit.phase,
            source=None if one is None else "replay",
            layers=len(unit.layers),
            calls=unit.calls * len(unit.layers),
            device_s=device_s,
            wall_s=wall_s,
            flops=_summed(self._rows[key].flops_self for key in keys),
            bytes_moved=_summed(self._rows[key].bytes_self for key in keys),
            how=unit.how,
            why_plain=unit.why_plain,
            inputs=unit.inputs,
            reason=unit.reason,
        )
        if one is None:
            return found
        per_call = len(unit.replayed) * len(unit.layers)
        half_j = one.half_width_j
        states = [state for window in unit.windows for state in window.states]
        return dataclasses.replace(
            found,
            dynamic_j=one.dynamic_j / per_call,
            dynamic_half_j=None if half_j is None else half_j / per_call,
            counter_j=one.counter_j / per_call,
            replay_s=one.busy_s / per_call,
            replay_w=one.power_w,
            raw_j=self._raw_j(unit),
            energy_j=sum(exact.get(key, 0) for key in keys) / NANO,
            half_j=self._half_j(unit, one, wall_s, factor),
            waiting_j=self._waiting_j(device_s, wall_s, factor),
            windows=one.windows,
            temperature_c=max((s.temperature_c for s in states if s.temperature_c), default=None),
            sm_clock_mhz=min((s.sm_clock_mhz for s in states if s.sm_clock_mhz), default=None),
            throttled=tuple(dict.fromkeys(r for w in unit.windows for r in w.throttled)),
        )

    def _half_j(
        self, unit: ReplayUnit, one: PassEnergy, wall_s: float, factor: float
    ) -> float | None:
        """The scatter of the windows, and idle power's own error, which enters twice with signs."""
        if one.half_width_j is None:
            return None
        times = unit.calls / len(unit.replayed)
        idle_j = self._idle_half_w() * (wall_s - one.busy_s * times)
        return factor * sqrt((one.half_width_j * times) ** 2 + idle_j**2)

    def _waiting_j(self, device_s: float, wall_s: float, factor: float) -> float:
        return factor * self._whole.idle_w * max(wall_s - device_s, 0.0)

    def _idle_half_w(self) -> float:
        return t_975(max(self._whole.windows - 1, 1)) * self._whole.idle_error_w

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
                phases[key[0] if self._rows[key].is_bucket else key[1]].append(key)
        return [
            UnitEnergy(
                name=phase if phase.startswith("(") else f"(rest of {phase})",
                kind="(rest)",
                phase=phase,
                source="apportioned",
                layers=len(keys),
                calls=sum(self._rows[key].calls for key in keys),
                device_s=sum(self._device_s[key] for key in keys),
                wall_s=sum(self._wall_s[key] for key in keys),
                raw_j=sum(raw[key] for key in keys),
                energy_j=sum(exact[key] for key in keys) / NANO,
                waiting_j=self._waiting_j(
                    sum(self._device_s[key] for key in keys),
                    sum(self._wall_s[key] for key in keys),
                    factor,
                ),
                flops=_summed(self._rows[key].flops_self for key in keys),
                bytes_moved=_summed(self._rows[key].bytes_self for key in keys),
            )
            for phase, keys in phases.items()
        ]

    def _parts(self, measured: Sequence[ReplayUnit]) -> list[PartCheck]:
        wholes: dict[Key, list[ReplayUnit]] = defaultdict(list)
        for unit in self._replay.units:
            if unit.role == "whole":
                wholes[unit.layers[0], unit.phase].append(unit)
        found = []
        for (part, phase), units in wholes.items():
            if any(unit.name not in self._passes for unit in units):
                continue  # without its first or last step nothing is known of all
            check = self._part(part, phase, units, measured)
            if check is not None:
                found.append(check)
        return found

    def _part(
        self,
        part: str,
        phase: str,
        units: Sequence[ReplayUnit],
        measured: Sequence[ReplayUnit],
    ) -> PartCheck | None:
        below = [u for u in measured if u.phase == phase and part in _upwards(u.layers[0])]
        calls = units[0].calls
        numbers = sorted(unit.replayed[0] for unit in units)
        energies = {unit.replayed[0]: self._passes[unit.name] for unit in units}
        whole_j = calls * _over_calls(numbers, {n: e.dynamic_j for n, e in energies.items()})
        keys = [key for key in self._rows if key[1] == phase and part in self._above[key]]
        device_s = sum(self._device_s[key] for key in keys)
        if whole_j <= 0 or not below or not device_s:
            return None
        halves = [e.half_width_j for e in energies.values()]
        known = [half for half in halves if half is not None]
        return PartCheck(
            part=part,
            phase=phase,
            whole_j=whole_j,
            layers_j=sum(self._dynamic_j(unit) for unit in below),
            covered=sum(self._device_s[k] for u in below for k in self._covers[u.name]) / device_s,
            whole_s=calls * _over_calls(numbers, {n: e.busy_s for n, e in energies.items()}),
            layers_s=sum(self._passes[u.name].busy_s * u.calls / len(u.replayed) for u in below),
            whole_half_j=calls * max(known) if len(known) == len(halves) else None,
            by_call=tuple((number + 1, energies[number].dynamic_j) for number in numbers),
        )

    def _cold(self) -> list[ColdCheck]:
        overwriting = next((u for u in self._replay.units if u.role == "overwrite"), None)
        cost = self._passes.get(overwriting.name) if overwriting else None
        found = []
        for unit in self._replay.units:
            warm = self._passes.get(unit.name.removesuffix(" cold"))
            cold = self._passes.get(unit.name)
            if unit.role != "cold" or not warm or not cold or not cost or warm.dynamic_j <= 0:
                continue
            calls = len(unit.replayed) * len(unit.layers)
            halves = (cold.half_width_j, cost.half_width_j)
            half = None
            if halves[0] is not None and halves[1] is not None:
                half = sqrt(halves[0] ** 2 + (calls * halves[1]) ** 2) / calls
            found.append(
                ColdCheck(
                    name=unit.name.removesuffix(" cold"),
                    warm_j=warm.dynamic_j / calls,
                    cold_j=cold.dynamic_j / calls - cost.dynamic_j,
                    half_j=half,
                )
            )
        return found

    def _notes(self, measured: Sequence[ReplayUnit], power_w: float) -> list[str]:
        replay = self._replay
        windows = sum(len(unit.windows) for unit in replay.units)
        notes = [
            f"replay: {windows} windows in {replay.spent_s:.0f} s ({replay.stopped}); inputs "
            f"{replay.memory}"
        ]
        refused = [u for u in self._replay.units if u.role == "layer" and u.reason is not None]
        if refused:
            notes.append(
                f"{len(refused)} of {len(refused) + len(measured)} units were not replayed and are "
                f"apportioned by {self._time_of}; the first: {refused[0].name}: {refused[0].reason}"
            )
        if measured:
            notes.append(
                "what was not replayed is apportioned at the power above idle of its own kind where "
                f"some of that was, else at {power_w:.1f} W, the mean of all that was"
            )
        else:
            notes.append(
                f"nothing was replayed: all joules above idle are shared by {self._time_of}"
            )
        slowed = [u for u in self._replay.units if any(w.throttled for w in u.windows)]
        if slowed:
            reasons = sorted({r for u in slowed for w in u.windows for r in w.throttled})
            notes.append(
                f"{len(slowed)} units were measured while the device throttled "
                f"({', '.join(reasons)}), after a rest too"
            )
        return notes


def _over_calls(numbers: Sequence[int], values: Mapping[int, float]) -> float:
    """Mean over all calls from the first to the last, the value between two taken as linear."""
    if len(numbers) == 1:
        return values[numbers[0]]
    total, count = 0.0, numbers[-1] - numbers[0] + 1
    for low, high in pairwise(numbers):
        steps = high - low
        total += (values[low] + values[high]) * steps / 2 + (values[low] - values[high]) / 2
    return (total + values[numbers[-1]]) / count


def _by_share(times: Mapping[Key, float], raw_j: float) -> list[tuple[Key, float, Source]]:
    whole = sum(times.values())
    return [
        (key, raw_j * (time / whole if whole else 1 / len(times)), "apportioned")
        for key, time in times.items()
    ]


def _upwards(layer: str) -> list[str]:
    """The layer and every layer above it."""
    names = [layer]
    while "." in names[-1]:
        names.append(names[-1].rpartition(".")[0])
    return names


def _device_s(row: LayerRow, table: LayerTable) -> float:
    on_device = table.whole.device_sum_ns is not None
    return ((row.gpu_self_ns if on_device else row.cpu_self_ns) or 0) / 1e9


def _summed(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
