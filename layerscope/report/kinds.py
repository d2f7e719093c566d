"""Rows of a layer table in, kinds of layers out: equal blocks of a stack as one row with their sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from layerscope.core.columns import COLUMNS, Column
from layerscope.records.layer_table import LayerRow


@dataclass(frozen=True, slots=True)
class Kind:
    """The layers of one kind in one phase, or one row alone.

    Attributes:
        row: named by the kind; sums over the members where a column adds up, and what they agree in.
        members: the rows, in the table's order.
    """

    row: LayerRow
    members: tuple[LayerRow, ...]

    @property
    def name(self) -> str:
        """The kind and how many modules it stands for: `encoder.block.*.wo ×24`."""
        return counted_name(self.row.layer, len(self.members))


def counted_name(name: str, modules: int) -> str:
    """A name with the number of modules that it stands for, where that is not one."""
    return f"{name} ×{modules:,}" if modules > 1 else name


def kinds_in(rows: Iterable[LayerRow]) -> tuple[Kind, ...]:
    """The rows by (kind, phase), each kind where its first row stands."""
    held: dict[tuple[str, str], list[LayerRow]] = {}
    for row in rows:
        held.setdefault((row.kind, row.phase), []).append(row)
    return tuple(Kind(_sum(members), tuple(members)) for members in held.values())


def one_by_one(rows: Iterable[LayerRow]) -> tuple[Kind, ...]:
    """Each row as a kind of its own."""
    return tuple(Kind(row, (row,)) for row in rows)


def _sum(members: Sequence[LayerRow]) -> LayerRow:
    first = members[0]
    if len(members) == 1:
        return first
    summed = LayerRow(**{c.field: _of_all(c, members) for c in COLUMNS if c.field})
    return replace(summed, layer=first.kind, **_quotients(summed))


def _of_all(column: Column, members: Sequence[LayerRow]) -> Any:
    """A sum needs all its parts, but for parameters, which a layer has in one of its phases."""
    values = [getattr(row, column.field) for row in members]
    known = [value for value in values if value is not None]
    if column.adds or column.is_total or column.name == "roofline_us":
        whole = len(known) == len(values) or column.name == "params"
        return sum(known) if known and whole else None
    if column.kind == "mebibytes":
        return max(known) if known else None
    agreed = all(value == values[0] for value in values)
    return values[0] if agreed else "" if column.required and column.kind == "text" else None


def _quotients(row: LayerRow) -> dict[str, Any]:
    """What is divided once the parts are summed."""
    time = row.gpu_self_ns if row.gpu_self_ns is not None else row.op_self_ns
    flops, moved, least = row.flops_self, row.bytes_self, row.roofline_ns
    return {
        "intensity": flops / moved if flops is not None and moved else None,
        "tflops_per_s": flops / time / 1e3 if flops is not None and time else None,
        "gb_per_s": moved / time if moved is not None and time else None,
        "roofline_fraction": least / time if least is not None and time else None,
    }
