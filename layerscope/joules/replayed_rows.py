"""A traced account, replayed units and the run's joules in; whose rows are whose, and the joules and
times behind each unit, out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from layerscope.joules.end_to_end_energy import EndToEnd
from layerscope.records.layer_energy import ReplayRecord, ReplayUnit
from layerscope.records.layer_table import LayerRow, LayerTable
from layerscope.stats.replay_noise import pass_energies
from layerscope.timeline.idle import Idle
from layerscope.timeline.real_time import wall_by_row

Key = tuple[str, str]  # (layer, phase)


class ReplayedRows:
    """What is known before anything is reconciled. Seconds and joules are of the traced batch.

    Attributes:
        rows: of the table.
        above: the layer of a row and every layer above it.
        device_s: device time of a row itself; host time on a CPU run.
        wall_s: its part of the real batch's time.
        passes: energy of one pass of each unit that was measured.
        covers: the rows of each unit that stands for layers: those and all below, in its phase.
        measured: those of them that were measured.
    """

    def __init__(
        self, table: LayerTable, idle: Idle | None, replay: ReplayRecord, whole: EndToEnd
    ) -> None:
        self.replay = replay
        self.whole = whole
        self.rows = {(row.layer, row.phase): row for row in table.rows}
        self.above = {key: frozenset(upwards(key[0])) for key in self.rows}
        self.device_s = {key: _device_s(row, table) for key, row in self.rows.items()}
        self.wall_s = wall_by_row(table, idle, whole.wall_s)
        self.passes = pass_energies(replay.units, whole.idle_w)
        layers = [unit for unit in replay.units if unit.role == "layer"]
        self.covers = {unit.name: self._rows_of(unit) for unit in layers}
        self.measured = tuple(unit for unit in layers if unit.name in self.passes)

    def dynamic_w(self, measured: Sequence[ReplayUnit]) -> float:
        """Mean power above idle over the device time of what was replayed.

        Where nothing was, that of the whole run: then every row is apportioned, by device time.
        """
        device_s = sum(self.device_s[k] for u in measured for k in self.covers[u.name])
        if device_s:
            return sum(self.dynamic_j(unit) for unit in measured) / device_s
        everywhere_s = sum(self.device_s.values())
        return self.whole.above_idle_j / everywhere_s if everywhere_s else 0.0

    def alike_w(self) -> dict[Key, float]:
        """Power above idle for the rows of units not replayed, of those of their kind that were.

        A block draws what its stack's other blocks draw, and not what other parts do.
        """
        kinds: dict[Key, list[ReplayUnit]] = defaultdict(list)
        for unit in self.measured:
            kinds[unit.kind, unit.phase].append(unit)
        return {
            key: self.dynamic_w(kinds[unit.kind, unit.phase])
            for unit in self.replay.units
            if unit.role == "layer"
            and unit.name not in self.passes
            and (unit.kind, unit.phase) in kinds
            for key in self.covers[unit.name]
        }

    def dynamic_j(self, unit: ReplayUnit) -> float:
        """Of all the unit's calls in the traced batch."""
        return self.passes[unit.name].dynamic_j * unit.calls / len(unit.replayed)

    def raw_j(self, unit: ReplayUnit) -> float:
        """Of all its calls above idle, and idle power over its part of the real batch."""
        wall_s = sum(self.wall_s[key] for key in self.covers[unit.name])
        return self.dynamic_j(unit) + self.whole.idle_w * wall_s

    def _rows_of(self, unit: ReplayUnit) -> list[Key]:
        """The unit's rows: its layers and all below them, in its phase."""
        heads = set(unit.layers)
        return [
            key
            for key in self.rows
            if key[1] == unit.phase and not heads.isdisjoint(self.above[key])
        ]


def upwards(layer: str) -> list[str]:
    """The layer and every layer above it."""
    names = [layer]
    while "." in names[-1]:
        names.append(names[-1].rpartition(".")[0])
    return names


def _device_s(row: LayerRow, table: LayerTable) -> float:
    on_device = table.whole.device_sum_ns is not None
    return ((row.gpu_self_ns if on_device else row.cpu_self_ns) or 0) / 1e9
