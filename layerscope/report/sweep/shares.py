"""Layer tables of a sweep's cells in, one grid with a line a cell and a column a phase or group out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from layerscope.core.units import ms_grouped
from layerscope.core.vocabulary import PHASES
from layerscope.records import LayerRow
from layerscope.records.sweep import SweepRow
from layerscope.report.page import Grid
from layerscope.report.sweep.grids import name_of
from layerscope.work.roofline import device_ns

_ABSENT = "–"
_MOST_COLUMNS = 7


def cells_by_phase(
    rows: Sequence[SweepRow], axes: Sequence[str], layers: Mapping[str, Sequence[LayerRow]]
) -> Grid | None:
    """Self time of each cell by phase, with its sum; None where no cell has a layer table."""
    return _grid(rows, axes, layers, "phase", lambda row: row.phase)


def cells_by_group(
    rows: Sequence[SweepRow], axes: Sequence[str], layers: Mapping[str, Sequence[LayerRow]]
) -> Grid | None:
    """The same by group: the largest ones, and what is left in one column."""
    return _grid(rows, axes, layers, "group", lambda row: row.group)


def _grid(
    rows: Sequence[SweepRow],
    axes: Sequence[str],
    layers: Mapping[str, Sequence[LayerRow]],
    what: str,
    name: Callable[[LayerRow], str],
) -> Grid | None:
    parts: dict[str, Counter[str]] = {}
    for row in rows:
        held: Counter[str] = Counter()
        for layer in layers.get(row.cell, ()):
            held[layer.layer if layer.is_bucket else name(layer)] += device_ns(layer) or 0
        if held:
            parts[row.cell] = held
    if not parts:
        return None
    columns = _columns(parts, what)
    shown = [row for row in rows if row.cell in parts]
    others = any(sum(held.values()) != sum(held[c] for c in columns) for held in parts.values())
    lines = []
    for row in shown:
        held = parts[row.cell]
        whole = sum(held.values())
        named = [held[column] for column in columns]
        rest = [ms_grouped(whole - sum(named))] if others else []
        lines.append((name_of(row, axes), *map(ms_grouped, named), *rest, ms_grouped(whole)))
    return Grid(
        title=f"self time by {what}, ms: {_of(shown)}",
        header=("cell", *columns, *(("all others",) if others else ()), "sum"),
        rows=tuple(lines),
    )


def _columns(parts: Mapping[str, Counter[str]], what: str) -> list[str]:
    """The largest, by the most that one cell spends there; phases in the order they run."""
    most: Counter[str] = Counter()
    for held in parts.values():
        for name, ns in held.items():
            most[name] = max(most[name], ns)
    found = [name for name, ns in most.most_common() if ns > 0]
    if what == "phase":
        return [name for name in PHASES if name in found]
    return found if len(found) <= _MOST_COLUMNS + 1 else found[:_MOST_COLUMNS]


def _of(rows: Sequence[SweepRow]) -> str:
    kinds = {row.device_sum_us is not None for row in rows}
    if kinds == {True}:
        return "on the device, traced batch"
    if kinds == {False}:
        return "inside operators, traced batch"
    return "on the device, or inside operators where none ran; traced batch"
