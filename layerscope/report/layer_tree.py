"""A layer table in, its tree as a printable table out: equal blocks as one branch, or each by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from layerscope.core.units import ms_three
from layerscope.records.layer_table import LayerRow, LayerTable, parent_of
from layerscope.report.columns import share_of
from layerscope.report.kinds import counted_name
from layerscope.report.page import Grid
from layerscope.report.selection import Selection, self_column

# Branches with less than this share of the whole stand together in one line.
_WORTH_A_LINE = 0.002
_INDENT = "  "
_DEEPEST = 100


@dataclass(slots=True)
class Branch:
    """One layer or kind with all its phases that are shown. Nanoseconds.

    Attributes:
        layers: the modules it stands for, by name.
    """

    name: str
    layers: set[str] = field(default_factory=set)
    calls: int = 0
    self_ns: int = 0
    total_ns: int = 0
    below: list[Branch] = field(default_factory=list)

    @property
    def is_list(self) -> bool:
        """Whether it only holds others, as a ModuleList does: nothing calls it."""
        return not self.calls and not self.self_ns and bool(self.below)


def tree_of(
    table: LayerTable, rows: Iterable[LayerRow], *, per_block: bool = False
) -> tuple[Branch, ...]:
    """The root's branch and one for each bucket; branches in the order in which they first ran."""
    own = self_column(table).field
    total = own.replace("self", "total")
    held = list(rows)
    name_of: Mapping[str, str] = {row.layer: row.layer if per_block else row.kind for row in held}
    branches: dict[str, Branch] = {}
    tops: list[Branch] = []
    for row in held:
        name = name_of[row.layer]
        branch = branches.get(name)
        if branch is None:
            branch = branches[name] = Branch(name)
            above = (
                None if row.is_bucket or row.layer == table.root else _above(row, table, name_of)
            )
            (tops if above is None else branches[above].below).append(branch)
        branch.layers.add(row.layer)
        branch.calls += row.calls
        branch.self_ns += getattr(row, own) or 0
        branch.total_ns += getattr(row, total) or 0
    return tuple(tops)


def _above(row: LayerRow, table: LayerTable, name_of: Mapping[str, str]) -> str | None:
    """The branch of the nearest layer above that has a row; the table's order has it before."""
    layer = row.layer
    while layer != table.root:
        layer = parent_of(layer, table.root)
        if layer in name_of and name_of[layer] != name_of[row.layer]:
            return name_of[layer]
    return None


def tree_grid(table: LayerTable, selection: Selection) -> Grid:
    """Totals, own times and shares of every branch that is worth a line, down to the depth asked for."""
    rows = [
        row
        for row in table.rows
        if selection.phase is None or (row.phase == selection.phase and not row.is_bucket)
    ]
    tops = tree_of(table, rows, per_block=selection.per_block)
    whole = sum(branch.total_ns for branch in tops)
    lines: list[tuple[str, ...]] = []
    for branch in tops:
        if branch.total_ns or branch.calls:
            lines += _lines(branch, _Shown(whole, selection.depth), 0, branch.name)
    unit = "gpu" if table.whole.device_sum_ns is not None else "cpu"
    phase = "" if selection.phase is None else f" of phase {selection.phase}"
    blocks = "each block" if selection.per_block else "equal blocks as one"
    return Grid(
        title=f"tree{phase}, {blocks}",
        header=("layer", f"{unit} total ms", "share", f"{unit} self ms", "calls"),
        rows=tuple(lines),
        footer=("sum", ms_three(whole), "", "", ""),
        spare=("calls", f"{unit} self ms"),
    )


class _Shown(NamedTuple):
    whole: int
    deepest: int | None


def _lines(branch: Branch, shown: _Shown, level: int, name: str) -> list[tuple[str, ...]]:
    """The branch's line, and those of what is below it. A list's own line says nothing: none."""
    title = counted_name(name, len(branch.layers))
    found = [_line(_INDENT * level + title, [branch], shown.whole)]
    if level >= (_DEEPEST if shown.deepest is None else shown.deepest):
        return found
    below = list(_below(branch))
    small = [one for _, one in below if one.total_ns < _WORTH_A_LINE * shown.whole]
    small = small if len(small) > 1 else []
    for name_below, one in below:
        if one not in small:
            found += _lines(one, shown, level + 1, name_below)
    if small:
        title = f"({len(small):,} more)"
        found.append(_line(_INDENT * (level + 1) + title, small, shown.whole))
    return found


def _below(branch: Branch) -> Iterator[tuple[str, Branch]]:
    """What is below, what a list holds in its place: `layers.*` instead of `layers` and `*`."""
    pending = [(one.name.rpartition(".")[2], one) for one in reversed(branch.below)]
    while pending:
        name, one = pending.pop()
        if one.is_list:
            pending.extend(
                (f"{name}.{two.name.rpartition('.')[2]}", two) for two in reversed(one.below)
            )
        else:
            yield name, one


def _line(name: str, branches: Sequence[Branch], whole: int) -> tuple[str, ...]:
    total = sum(branch.total_ns for branch in branches)
    share = share_of(total, whole)
    one = branches[0] if len(branches) == 1 else None
    return (
        name,
        ms_three(total),
        "" if share is None else f"{100 * share:.1f} %",
        ms_three(one.self_ns) if one is not None else "",
        f"{one.calls:,}" if one is not None else "",
    )
