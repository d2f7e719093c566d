"""A layer table and what the user asked to see in, the rows to show and what was left out, out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from layerscope.core.columns import BY_NAME, COLUMNS, Column, Value
from layerscope.core.errors import UsageError
from layerscope.core.files import LAYERS_FILE
from layerscope.core.words import did_you_mean
from layerscope.records.layer_table import LayerRow, LayerTable
from layerscope.report.columns import value_of
from layerscope.report.kinds import Kind, kinds_in, one_by_one
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
        per_block: each layer by itself instead of equal blocks as one.
    """

    phase: str | None = None
    depth: int | None = None
    sort: str | None = None
    top: int | None = None
    per_block: bool = False


EVERYTHING = Selection()
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """The kinds to show, in order, and those that asked-for limits left out."""

    shown: tuple[Kind, ...]
    hidden: tuple[Kind, ...]


def select(table: LayerTable, selection: Selection) -> Selected:
    """Choose, fold and sort rows; rows that hold nothing at all (no call, no time) are not shown.

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
    kinds = one_by_one(rows) if selection.per_block else kinds_in(rows)
    kept = [k for k in kinds if deep is None or k.row.depth <= deep or k.row.is_bucket]
    shown = sorted_kinds(kept, table, _sort_column(table, selection))[: selection.top]
    seen = {(kind.row.layer, kind.row.phase) for kind in shown}
    hidden = tuple(kind for kind in kinds if (kind.row.layer, kind.row.phase) not in seen)
    return Selected(shown=tuple(shown), hidden=hidden)


def sorted_kinds(kinds: Sequence[Kind], table: LayerTable, column: Column) -> list[Kind]:
    """Largest first, or A to Z for text; unmeasured last; ties keep the tree's order."""
    return _sorted(kinds, lambda kind: value_of(column, kind.row, table), column)


def sorted_rows(rows: Sequence[LayerRow], table: LayerTable, column: Column) -> list[LayerRow]:
    """The same of rows."""
    return _sorted(rows, lambda row: value_of(column, row, table), column)


def _sorted(items: Sequence[Item], value: Callable[[Item], Value], column: Column) -> list[Item]:
    held = [(value(item), item) for item in items]
    measured = [(found, item) for found, item in held if found is not None]
    unmeasured = [item for found, item in held if found is None]
    if column.kind == "text":
        measured.sort(key=lambda pair: str(pair[0]))
    else:
        measured.sort(key=lambda pair: -float(pair[0]))
    return [item for _, item in measured] + unmeasured


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
