"""Windows of replayed units in, joules per pass with their standard error out.

A unit has few windows, too few for a spread of its own: two windows leave Student's t at 12.7. Units
are measured in the same way, so their scatter is pooled, as a share of all energy of a pass, idle power
included, since that is what the counter sees: s² = Σ (residual ÷ energy)² ÷ Σ (windows - 1). The sums
go over the units of a kind, or over all units where a kind has fewer than `_ENOUGH` degrees of
freedom. A unit of n windows has the standard error energy × s ÷ √n, with the pooled freedom.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from layerscope.records.interval import Interval
from layerscope.records.layer_energy import ReplayUnit
from layerscope.stats.energy_summary import window_energy
from layerscope.stats.student import t_975

_ENOUGH = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class PassEnergy:
    """One pass of one unit, from all of its windows.

    Attributes:
        dynamic_j: energy above idle power.
        busy_s: time of a pass while replaying.
        power_w: while replaying, idle power included.
        counter_j: how far `dynamic_j` may be off because of the counter's steps, from each window's
            own readings; a bound, not a standard error.
        error_j: standard error of `dynamic_j`; None where no unit has two windows.
        freedom: degrees of freedom of `error_j`.
        windows: how many windows stand behind it.
    """

    dynamic_j: float
    busy_s: float
    power_w: float
    counter_j: float
    error_j: float | None
    freedom: int
    windows: int

    @property
    def relative_error(self) -> float | None:
        """Standard error over energy; None where either is missing."""
        if self.error_j is None or self.dynamic_j <= 0:
            return None
        return self.error_j / self.dynamic_j

    @property
    def half_width_j(self) -> float | None:
        """Half of the 95 % interval: Student's t times the standard error."""
        return None if self.error_j is None else t_975(self.freedom) * self.error_j

    @property
    def interval(self) -> Interval | None:
        """95 % interval of `dynamic_j`."""
        reach = self.half_width_j
        if reach is None:
            return None
        method = f"Student's t, scatter pooled over units, {self.freedom} degrees of freedom"
        return Interval(low=self.dynamic_j - reach, high=self.dynamic_j + reach, method=method)


def pass_energies(units: Sequence[ReplayUnit], idle_w: float) -> dict[str, PassEnergy]:
    """Unit name -> energy of one pass; units without windows are left out.

    Args:
        idle_w: power that the device draws without the work, taken off each window.
    """
    measured = {unit.name: _own(unit, idle_w) for unit in units if unit.windows}
    kinds = {unit.name: unit.kind for unit in units}
    spread, everywhere = _pooled(measured, kinds), _pooled(measured, dict.fromkeys(kinds, ""))
    all_squares, all_freedom = everywhere.get("", (0.0, 0))
    found = {}
    for name, own in measured.items():
        squares, freedom = spread.get(kinds[name], (0.0, 0))
        if freedom < _ENOUGH:
            squares, freedom = all_squares, all_freedom
        error = None
        if freedom:
            error = own.energy_j * sqrt(squares / freedom / len(own.windows_j))
        found[name] = PassEnergy(
            dynamic_j=own.dynamic_j,
            busy_s=own.busy_s,
            power_w=own.dynamic_j / own.busy_s + idle_w,
            counter_j=own.counter_j,
            error_j=error,
            freedom=freedom,
            windows=len(own.windows_j),
        )
    return found


@dataclass(frozen=True, slots=True)
class _Own:
    """One unit's windows: dynamic energy per pass of each, and together; `energy_j` holds the idle."""

    windows_j: tuple[float, ...]
    dynamic_j: float
    energy_j: float
    busy_s: float
    counter_j: float


def _own(unit: ReplayUnit, idle_w: float) -> _Own:
    energies = [window_energy(item.window) for item in unit.windows]
    passes = [item.passes for item in unit.windows]
    dynamic = [energy.work_j - idle_w * energy.busy_s for energy in energies]
    return _Own(
        windows_j=tuple(j / n for j, n in zip(dynamic, passes, strict=True)),
        dynamic_j=sum(dynamic) / sum(passes),
        energy_j=sum(energy.work_j for energy in energies) / sum(passes),
        busy_s=sum(energy.busy_s for energy in energies) / sum(passes),
        counter_j=sum(energy.uncertainty_j for energy in energies) / sum(passes),
    )


def _pooled(measured: Mapping[str, _Own], kinds: Mapping[str, str]) -> dict[str, tuple[float, int]]:
    """Kind -> sum of squared residuals as shares of a pass's energy, degrees of freedom."""
    squares: dict[str, float] = defaultdict(float)
    freedom: dict[str, int] = defaultdict(int)
    for name, own in measured.items():
        n = len(own.windows_j)
        if n < 2 or own.energy_j <= 0:
            continue
        mean = sum(own.windows_j) / n
        squares[kinds[name]] += sum(((j - mean) / own.energy_j) ** 2 for j in own.windows_j)
        freedom[kinds[name]] += n - 1
    return {kind: (squares[kind], freedom[kind]) for kind in freedom}
