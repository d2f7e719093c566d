"""Energy by layer in, its sums by kind of layer out, each beside its share of the device time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from layerscope.joules.end_to_end_energy import NANO
from layerscope.joules.layer_energy import LayerEnergy, UnitEnergy


@dataclass(frozen=True, kw_only=True, slots=True)
class KindEnergy:
    """All units of one kind, phase and source. Shares are of the run's joules and device time."""

    kind: str
    phase: str
    source: str
    units: int
    layers: int
    device_s: float
    device_share: float
    energy_j: float
    energy_share: float
    half_j: float | None
    waiting_share: float  # of its joules: idle power while the device waits for its kernels
    replay_w: float | None
    mean_w: float | None
    flops: int | None
    bytes_moved: int | None

    @property
    def energy_over_time(self) -> float | None:
        """Energy share over time share: above 1, it costs more joules than its time says."""
        return self.energy_share / self.device_share if self.device_share else None


def by_kind(found: LayerEnergy) -> tuple[KindEnergy, ...]:
    """Units added up by kind and phase, most energy first; those without energy left out.

    The half width of a sum adds the units' squares: their windows are independent.
    """
    held: dict[tuple[str, str, str], list[UnitEnergy]] = defaultdict(list)
    for unit in found.units:
        if unit.energy_j is not None and unit.source is not None:
            kind = unit.name if unit.kind == "(rest)" else unit.kind
            held[kind, unit.phase, unit.source].append(unit)
    device_s = sum(unit.device_s for unit in found.units if unit.energy_j is not None)
    whole_j = found.end_to_end.whole_nj / NANO if found.end_to_end else 0.0
    kinds = [_kind(*key, units, device_s, whole_j) for key, units in held.items()]
    return tuple(sorted(kinds, key=lambda kind: -kind.energy_j))


def _kind(
    kind: str,
    phase: str,
    source: str,
    units: Sequence[UnitEnergy],
    device_s: float,
    whole_j: float,
) -> KindEnergy:
    energy_j = sum(unit.energy_j or 0.0 for unit in units)
    own_s = sum(unit.device_s for unit in units)
    wall_s = sum(unit.wall_s for unit in units)
    halves = [unit.half_j for unit in units if unit.half_j is not None]
    powers = [(u.replay_w, u.device_s) for u in units if u.replay_w is not None]
    weights = sum(weight for _, weight in powers)
    flops = [unit.flops for unit in units if unit.flops is not None]
    moved = [unit.bytes_moved for unit in units if unit.bytes_moved is not None]
    return KindEnergy(
        kind=kind,
        phase=phase,
        source=source,
        units=len(units),
        layers=sum(unit.layers for unit in units),
        device_s=own_s,
        device_share=own_s / device_s if device_s else 0.0,
        energy_j=energy_j,
        energy_share=energy_j / whole_j if whole_j else 0.0,
        half_j=sqrt(sum(half**2 for half in halves)) if len(halves) == len(units) else None,
        waiting_share=sum(u.waiting_j or 0.0 for u in units) / energy_j if energy_j else 0.0,
        replay_w=sum(p * w for p, w in powers) / weights if weights else None,
        mean_w=energy_j / wall_s if wall_s else None,
        flops=sum(flops) if flops and len(flops) == len(units) else None,
        bytes_moved=sum(moved) if moved else None,
    )
