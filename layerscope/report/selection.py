"""A layer table and what the user asked to see in, the rows to show and what was left out, out."""

from __future__ import annotations

from dataclasses import dataclass

from layerscope.core.columns import BY_NAME, COLUMNS, Column
from layerscope.core.errors import UsageError
from layerscope.core.files import LAYERS_FILE
from layerscope.core.words import did_you_mean
from layerscope.records.layer_table import LayerRow, LayerTable
from layerscope.report.columns import value_of
from layerscope.report.sums import phases_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What to show; None is no limit.

    Attributes:
        phase: only this phase's rows.
        depth: only layers at most this far below the root (depth 0).
        sort: a column of `layers.csv`; largest first, text A to Z. None sorts by self time, or by
            total time under `depth`, where the totals hold what is not shown.
        top: at most this many rows; what the others hold is printed beneath.
    """

    phase: str | None = None
    depth: int | None = None
    sort: str | None = None
    top: int | None = None


EVERYTHING = Selection()


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """The rows to show, in order, and the rows that asked-for limits left out."""

    shown: tuple[LayerRow, ...]
    hidden: tuple[LayerRow, ...]


def select(table: LayerTable, selection: Selection) -> Selected:
    """Choose and sort rows; rows that hold nothing at all (no call, no time) are not shown.

    Raises:
        UsageError: a phase or a column that the table does not have.
    """
    phases = phases_of(table)
    if selection.phase is not None and selection.phase not in phases:
        raise UsageError(
            f"--phase {selection.phase}: this trace has no such phase; it has {', '.join(phases)}."
        )
    rows = [
        row
        for row in table.rows
        if selection.phase is None or (row.phase == selection.phase and not row.is_bucket)
    ]
    rows = [row for row in rows if not _empty(row)]
    deep = selection.depth
    kept = [row for row in rows if deep is None or row.depth <= deep or row.is_bucket]
    ordered = sorted_rows(kept, table, _sort_column(table, selection))
    shown = ordered[: selection.top]
    seen = {(row.layer, row.phase) for row in shown}
    hidden = tuple(row for row in rows if (row.layer, row.phase) not in seen)
    return Selected(shown=tuple(shown), hidden=hidden)


def sorted_rows(rows: list[LayerRow], table: LayerTable, column: Column) -> list[LayerRow]:
    """Largest first, or A to Z for text; unmeasured last; ties keep the tree's order."""
    held = [(value_of(column, row, table), row) for row in rows]
    measured = [(value, row) for value, row in held if value is not None]
    unmeasured = [row for value, row in held if value is None]
    if column.kind == "text":
        measured.sort(key=lambda pair: str(pair[0]))
    else:
        measured.sort(key=lambda pair: -float(pair[0]))
    return [row for _, row in measured] + unmeasured


def self_column(table: LayerTable) -> Column:
    """The column that ranks layers by self time: the device's, or the host's without a device."""
    return BY_NAME["cpu_self_us" if table.whole.device_sum_ns is None else "gpu_self_us"]


def _sort_column(table: LayerTable, selection: Selection) -> Column:
    if selection.sort is not None:
        return column_named(selection.sort)
    own = self_column(table)
    return own if selection.depth is None else BY_NAME[own.name.replace("self", "total")]


def column_named(name: str) -> Column:
    """The column of that name.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    if name in BY_NAME:
        return BY_NAME[name]
    names = [column.name for column in COLUMNS]
    hint = did_you_mean(name, names, f"columns: {', '.join(names)}.", quote="")
    raise UsageError(f"--sort {name}: {LAYERS_FILE} has no such column; {hint}")


def _empty(row: LayerRow) -> bool:
    return not (row.calls or row.kernels or row.gpu_total_ns or row.cpu_total_ns)
