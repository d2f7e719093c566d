"""Replayed units in; how well they agree with the part in one go, and with a cold cache, out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

from layerscope.joules.replayed_rows import Key, ReplayedRows, upwards
from layerscope.records.layer_energy import ReplayUnit


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCheck:
    """A part replayed in one go against the sum over its layers; dynamic joules of the traced batch.

    Attributes:
        by_call: (number of the call from 1, its dynamic joules) where calls were replayed singly.
        covered: share of the part's device time that the layers cover.
        whole_s: time of the part in one go; a launch-bound part waits for most of it.
        idle_w: power at rest, taken off `whole_j` over `whole_s`.
    """

    part: str
    phase: str
    whole_j: float
    layers_j: float
    covered: float
    whole_s: float
    layers_s: float
    whole_half_j: float | None
    idle_w: float
    by_call: tuple[tuple[int, float], ...]

    @property
    def ratio(self) -> float:
        """Sum over the layers over the whole, above idle power.

        Of a launch-bound part it is a small difference of two large numbers: 2 W more in its gaps
        than at rest are a tenth of what it draws above idle.
        """
        return self.layers_j / self.whole_j

    @property
    def raw_ratio(self) -> float:
        """The same with idle power over the part's own time in both: raw joules, as in the account."""
        idle_j = self.idle_w * self.whole_s
        return (self.layers_j + idle_j) / (self.whole_j + idle_j)


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


def part_checks(at: ReplayedRows) -> tuple[PartCheck, ...]:
    """Every part whose replays in one go are all there."""
    wholes: dict[Key, list[ReplayUnit]] = defaultdict(list)
    for unit in at.replay.units:
        if unit.role == "whole":
            wholes[unit.layers[0], unit.phase].append(unit)
    found = []
    for (part, phase), units in wholes.items():
        if any(unit.name not in at.passes for unit in units):
            continue  # without its first or last step nothing is known of all
        check = _part(at, part, phase, units)
        if check is not None:
            found.append(check)
    return tuple(found)


def _part(
    at: ReplayedRows,
    part: str,
    phase: str,
    units: Sequence[ReplayUnit],
) -> PartCheck | None:
    below = [u for u in at.measured if u.phase == phase and part in upwards(u.layers[0])]
    calls = units[0].calls
    numbers = sorted(unit.replayed[0] for unit in units)
    energies = {unit.replayed[0]: at.passes[unit.name] for unit in units}
    whole_j = calls * over_calls(numbers, {n: e.dynamic_j for n, e in energies.items()})
    keys = [key for key in at.rows if key[1] == phase and part in at.above[key]]
    device_s = sum(at.device_s[key] for key in keys)
    if whole_j <= 0 or not below or not device_s:
        return None
    halves = [e.half_width_j for e in energies.values()]
    known = [half for half in halves if half is not None]
    return PartCheck(
        part=part,
        phase=phase,
        whole_j=whole_j,
        layers_j=sum(at.dynamic_j(unit) for unit in below),
        covered=sum(at.device_s[k] for u in below for k in at.covers[u.name]) / device_s,
        whole_s=calls * over_calls(numbers, {n: e.busy_s for n, e in energies.items()}),
        layers_s=sum(at.passes[u.name].busy_s * u.calls / len(u.replayed) for u in below),
        whole_half_j=calls * max(known) if len(known) == len(halves) else None,
        idle_w=at.whole.idle_w,
        by_call=tuple((number + 1, energies[number].dynamic_j) for number in numbers),
    )


def cold_checks(at: ReplayedRows) -> tuple[ColdCheck, ...]:
    """Every unit that was measured warm and cold, what overwriting costs taken off."""
    overwriting = next((u for u in at.replay.units if u.role == "overwrite"), None)
    cost = at.passes.get(overwriting.name) if overwriting else None
    found = []
    for unit in at.replay.units:
        warm = at.passes.get(unit.name.removesuffix(" cold"))
        cold = at.passes.get(unit.name)
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
    return tuple(found)


def over_calls(numbers: Sequence[int], values: Mapping[int, float]) -> float:
    """Mean over all calls from the first to the last, the value between two taken as linear."""
    if len(numbers) == 1:
        return values[numbers[0]]
    total, count = 0.0, numbers[-1] - numbers[0] + 1
    for low, high in pairwise(numbers):
        steps = high - low
        total += (values[low] + values[high]) * steps / 2 + (values[low] - values[high]) / 2
    return (total + values[numbers[-1]]) / count
