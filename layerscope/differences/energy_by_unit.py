"""Energy by layer of two runs in, what each unit draws in both out, at equal wall time."""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot

from layerscope.joules.repeats import Repeat, Repeated
from layerscope.records.comparison import EnergyChange


def energy_changes(
    base: Mapping[str, Repeat], other: Mapping[str, Repeat]
) -> tuple[EnergyChange, ...]:
    """The units that both runs replayed, largest change above idle first.

    Whole joules are those above idle power and idle power over the mean of both runs' times: a run that
    waited longer for its host is no costlier layer.
    """
    found = []
    for name in base:
        if name not in other:
            continue
        one, two = base[name], other[name]
        equal = Repeated(name=name, runs=(one, two)).at_equal_wall_j
        change = two.above_j - one.above_j
        found.append(
            EnergyChange(
                unit=name,
                base_above_idle_j=one.above_j,
                other_above_idle_j=two.above_j,
                half_j=hypot(one.above_half_j, two.above_half_j),
                base_equal_wall_j=equal[0],
                other_equal_wall_j=equal[1],
                told_apart=abs(change) > hypot(one.above_half_j, two.above_half_j),
            )
        )
    return tuple(sorted(found, key=lambda item: -abs(item.change_j)))
