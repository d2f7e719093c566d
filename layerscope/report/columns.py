"""A column and a row in, what the row holds in it out."""

from __future__ import annotations

from layerscope.core.columns import Column, Value
from layerscope.records.layer_table import LayerRow, LayerTable


def value_of(column: Column, row: LayerRow, table: LayerTable) -> Value:
    """What the row holds in this column, in the field's own unit; None when not measured."""
    if column.kind == "share":
        return share_of(row.gpu_self_ns, table.whole.device_sum_ns)
    if column.name == "kernels" and table.whole.device_sum_ns is None:
        return None  # no device was traced: 0 would claim that none ran
    value: Value = getattr(row, column.field)
    return value


def share_of(part_ns: int | None, whole_ns: int | None) -> float | None:
    """The part's fraction of the whole; None when either is unmeasured or the whole is empty."""
    if part_ns is None or not whole_ns:
        return None
    return part_ns / whole_ns
