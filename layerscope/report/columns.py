"""The columns of the layer table, in their order: what each holds and how a file writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from layerscope.records.layer_table import LayerRow, LayerTable

Kind = Literal["text", "integer", "time", "mebibytes", "real", "share"]
Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `field` is the `LayerRow` field it shows; a share is derived and has none.

    `time` fields are nanoseconds, shown in microseconds; `mebibytes` fields are bytes.
    """

    name: str
    kind: Kind
    field: str = ""
    required: bool = False


COLUMNS = (
    Column("phase", "text", "phase", required=True),
    Column("layer", "text", "layer", required=True),
    Column("module", "text", "module", required=True),
    Column("group", "text", "group", required=True),
    Column("depth", "integer", "depth", required=True),
    Column("calls", "integer", "calls", required=True),
    Column("kernels", "integer", "kernels"),
    Column("gpu_self_us", "time", "gpu_self_ns"),
    Column("gpu_total_us", "time", "gpu_total_ns"),
    Column("gpu_share", "share"),
    Column("cpu_self_us", "time", "cpu_self_ns"),
    Column("cpu_total_us", "time", "cpu_total_ns"),
    Column("flops_self", "integer", "flops_self"),
    Column("flops_total", "integer", "flops_total"),
    Column("macs_total", "integer", "macs_total"),
    Column("params", "integer", "params"),
    Column("op_self_us", "time", "op_self_ns"),
    Column("dtype", "text", "dtype"),
    Column("bytes_self", "integer", "bytes_self"),
    Column("intensity", "real", "intensity"),
    Column("tflops_per_s", "real", "tflops_per_s"),
    Column("gb_per_s", "real", "gb_per_s"),
    Column("roofline_us", "time", "roofline_ns"),
    Column("roofline_fraction", "real", "roofline_fraction"),
    Column("bound", "text", "bound"),
    Column("memory_peak_mib", "mebibytes", "memory_peak_bytes"),
    Column("attribution", "text", "attribution"),
    Column("energy_j", "real", "energy_j"),
    Column("energy_source", "text", "energy_source"),
    Column("modelled_us", "time", "modelled_ns"),
)
BY_NAME = {column.name: column for column in COLUMNS}


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
