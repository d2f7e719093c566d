"""Energy by layer of several equal runs in; how far they agree, and what may be said of all, out.

Whole joules of two runs differ because one waited longer: idle power over that time is no property of a
layer. So runs are compared by joules above idle power, and by whole joules at equal wall time, that is,
with idle power over the mean of the runs' times. Bars are those that each run has by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import hypot


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeat:
    """One unit or kind in one run. Joules.

    Attributes:
        above_j, above_half_j: above idle power, of all its calls; half of the 95 % interval.
        wall_s: its part of the batch's time.
        idle_w: the run's idle power.
        energy_share, device_share: of the run's joules and device time.
    """

    above_j: float
    above_half_j: float
    wall_s: float
    idle_w: float
    energy_share: float
    device_share: float

    @property
    def more_than_its_time(self) -> bool:
        """Whether it has a larger share of the joules than of the device time."""
        return self.energy_share > self.device_share


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeated:
    """One unit or kind in all runs."""

    name: str
    runs: tuple[Repeat, ...]

    @property
    def at_equal_wall_j(self) -> tuple[float, ...]:
        """Its joules in each run as if all had taken the mean of their times."""
        wall_s = sum(run.wall_s for run in self.runs) / len(self.runs)
        return tuple(run.above_j + run.idle_w * wall_s for run in self.runs)

    @property
    def pairs_alike(self) -> int:
        """Pairs of runs whose joules above idle agree within both bars."""
        return sum(
            abs(one.above_j - two.above_j) <= hypot(one.above_half_j, two.above_half_j)
            for one, two in combinations(self.runs, 2)
        )

    @property
    def pairs(self) -> int:
        """All pairs of runs."""
        return len(self.runs) * (len(self.runs) - 1) // 2

    @property
    def joules_against_time(self) -> tuple[float, ...] | None:
        """Share of the joules over that of the device time, run by run; None where the runs disagree
        about whether it is above 1, so that nothing can be said."""
        if len({run.more_than_its_time for run in self.runs}) > 1:
            return None
        return tuple(run.energy_share / run.device_share for run in self.runs if run.device_share)


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How far the runs agree over all units.

    Attributes:
        alike, pairs: pairs of runs of a unit whose joules above idle agree within both bars.
        median_half: of all bars, as a share of their joules above idle.
    """

    alike: int
    pairs: int
    median_half: float


def agreement(units: Sequence[Repeated]) -> Agreement:
    """Of all units that every run replayed.

    Raises:
        ValueError: there is none.
    """
    halves = sorted(
        run.above_half_j / run.above_j for unit in units for run in unit.runs if run.above_j > 0
    )
    if not halves:
        raise ValueError("no unit with joules above idle in every run")
    return Agreement(
        alike=sum(unit.pairs_alike for unit in units),
        pairs=sum(unit.pairs for unit in units),
        median_half=halves[len(halves) // 2],
    )
