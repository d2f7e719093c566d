"""A layer table in, the printable tables by phase, by group and by layer out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from layerscope.account.ranks import Rank
from layerscope.core.columns import BY_NAME, Column
from layerscope.core.microseconds import us_grouped
from layerscope.core.units import MIB, percent_fixed
from layerscope.records.layer_table import LayerRow, LayerTable
from layerscope.records.tables import DeviceRow
from layerscope.report.columns import share_of, value_of
from layerscope.report.page import Grid
from layerscope.report.selection import (
    Selected,
    column_named,
    self_column,
    sorted_rows,
)
from layerscope.report.sums import Part, by_group, by_phase, total_of

UNMEASURED = "-"


def phase_grid(table: LayerTable) -> Grid:
    """Self times by phase; the footer is the measured whole that they sum to."""
    return _part_grid(table, by_phase(table), "phase", "by phase, self time")


def device_grid(devices: tuple[DeviceRow, ...], rank: str = "") -> Grid:
    """What each device did; the footer is the sum over all, which the account's whole is."""
    rows = [
        (row.device, ", ".join(row.processes) or UNMEASURED, *_device_cells(row)) for row in devices
    ]
    whole = DeviceRow(
        device="sum",
        processes=(),
        events=sum(row.events for row in devices),
        layers_ns=sum(row.layers_ns for row in devices),
        buckets_ns=sum(row.buckets_ns for row in devices),
        active_ns=sum(row.active_ns for row in devices),
    )
    return Grid(
        title="by device" + (f", {rank}" if rank else ""),
        header=("device", "processes", "events", "layers us", "buckets us", "sum us", "active us"),
        rows=tuple(rows),
        footer=("sum", "", *_device_cells(whole)),
        text=frozenset({"processes"}),
    )


def _device_cells(row: DeviceRow) -> tuple[str, ...]:
    times = (row.layers_ns, row.buckets_ns, row.sum_ns, row.active_ns)
    return (f"{row.events:,}", *(us_grouped(ns) for ns in times))


def rank_grid(ranks: Sequence[Rank]) -> Grid:
    """What each rank did; the footer is the sum, which the account's whole is."""

    def cells(events: int, *times_ns: int | None) -> tuple[str, ...]:
        return (f"{events:,}", *(UNMEASURED if t is None else us_grouped(t) for t in times_ns))

    wholes = [rank.account.table.whole for rank in ranks]
    measures = ("device_sum_ns", "device_active_ns", "host_window_ns")
    rows = [
        (rank.name, *cells(whole.device_events, *(getattr(whole, m) for m in measures)))
        for rank, whole in zip(ranks, wholes, strict=True)
    ]
    known = [[t for whole in wholes if (t := getattr(whole, m)) is not None] for m in measures]
    sums = [sum(times) if times else None for times in known]
    return Grid(
        title="by rank",
        header=("rank", "events", "device us", "device active us", "host us"),
        rows=tuple(rows),
        footer=("sum", *cells(sum(whole.device_events for whole in wholes), *sums)),
    )


def group_grid(table: LayerTable, phase: str | None = None) -> Grid:
    """Self times by group, largest first, of one phase or of all."""
    parts = by_group(table, phase)
    measure = _gpu if _has_device(table) else _cpu
    ordered = tuple(sorted(parts, key=lambda part: -(measure(part) or 0)))
    of = f" of phase {phase}" if phase else ""
    return _part_grid(table, ordered, "group", f"by group{of}, self time")


def top_grid(table: LayerTable, top: int) -> Grid:
    """The layers with the most self time, one row per (layer, phase); buckets are no layers."""
    rows = [row for row in table.rows if not row.is_bucket]
    own = self_column(table)
    shown = [r for r in sorted_rows(rows, table, own)[:top] if value_of(own, r, table)]
    device = _has_device(table)
    names = ("phase", "calls", "kernels", "gpu_self_us", "gpu_share", "cpu_self_us")
    columns = [BY_NAME[name] for name in names if device or name in _HOST_COLUMNS]
    return _rows_grid(table, f"top {len(shown)} layers by self time", columns, shown, None)


_HOST_COLUMNS = frozenset({"phase", "calls", "cpu_self_us", "cpu_total_us"})


def layer_grid(table: LayerTable, selected: Selected, sort: str | None) -> Grid:
    """The selected layers; the footer holds the self time of the rows that are not shown."""
    device = _has_device(table)
    names = ["phase", "calls", "kernels", "gpu_self_us", "gpu_share", "gpu_total_us"]
    names += ["cpu_self_us", "cpu_total_us"]
    names = [name for name in names if device or name in _HOST_COLUMNS]
    if sort is not None and sort != "layer" and column_named(sort).name not in names:
        names.append(sort)
    columns = [BY_NAME[name] for name in names]
    footer = _hidden_footer(table, columns, selected.hidden) if selected.hidden else None
    return _rows_grid(table, "layers", columns, selected.shown, footer)


def _hidden_footer(
    table: LayerTable, columns: Iterable[Column], hidden: tuple[LayerRow, ...]
) -> tuple[str, ...]:
    cells = [f"{len(hidden):,} more row{'' if len(hidden) == 1 else 's'}"]
    for column in columns:
        # Only self values add up over rows that lie inside one another.
        sums = column.name in ("kernels", "calls") or "_self" in column.name
        if column.name == "gpu_share":
            gpu = total_of(row.gpu_self_ns for row in hidden)
            cells.append(_percent(share_of(gpu, table.whole.device_sum_ns)))
        elif sums and column.kind in ("integer", "time"):
            total = total_of(getattr(row, column.field) for row in hidden)
            cells.append(_shown(column, total))
        else:
            cells.append("")
    return tuple(cells)


def _rows_grid(
    table: LayerTable,
    title: str,
    columns: list[Column],
    rows: Iterable[LayerRow],
    footer: tuple[str, ...] | None,
) -> Grid:
    return Grid(
        title=title,
        header=("layer", *(_label(column) for column in columns)),
        rows=tuple(
            (row.layer, *(_shown(column, value_of(column, row, table)) for column in columns))
            for row in rows
        ),
        footer=footer,
        text=frozenset(_label(column) for column in columns if column.kind == "text"),
    )


def _part_grid(table: LayerTable, parts: tuple[Part, ...], name: str, title: str) -> Grid:
    columns: list[tuple[str, Callable[[Part], str]]] = []
    if _has_device(table):
        columns.append(("kernels", lambda part: f"{part.kernels:,}"))
        columns.append(("gpu self us", lambda part: _time(part.gpu_self_ns)))
        columns.append(("gpu share", lambda part: _percent(part.gpu_share)))
    if table.whole.host_window_ns is not None:
        columns.append(("cpu self us", lambda part: _time(part.cpu_self_ns)))
        columns.append(("cpu share", lambda part: _percent(part.cpu_share)))
    if any(part.flops_self is not None for part in parts):
        columns.append(("flops self", lambda part: _count(part.flops_self)))
    whole = _sum_of(table, parts)
    return Grid(
        title=title,
        header=(name, *(label for label, _ in columns)),
        rows=tuple((part.name, *(cell(part) for _, cell in columns)) for part in parts),
        footer=("sum", *(cell(whole) for _, cell in columns)),
    )


def _sum_of(table: LayerTable, parts: tuple[Part, ...]) -> Part:
    gpu = total_of(part.gpu_self_ns for part in parts)
    cpu = total_of(part.cpu_self_ns for part in parts)
    return Part(
        name="sum",
        is_bucket=False,
        kernels=sum(part.kernels for part in parts),
        gpu_self_ns=gpu,
        cpu_self_ns=cpu,
        flops_self=_flops_of(parts),
        gpu_share=share_of(gpu, table.whole.device_sum_ns),
        cpu_share=share_of(cpu, table.whole.host_window_ns),
    )


def _flops_of(parts: tuple[Part, ...]) -> int | None:
    """None where one part's FLOPs are not known; buckets hold none."""
    own = [part.flops_self for part in parts if not part.is_bucket]
    return None if None in own else total_of(own)


def _has_device(table: LayerTable) -> bool:
    return table.whole.device_sum_ns is not None


def _gpu(part: Part) -> int | None:
    return part.gpu_self_ns


def _cpu(part: Part) -> int | None:
    return part.cpu_self_ns


def _label(column: Column) -> str:
    return column.name.replace("_", " ")


def _shown(column: Column, value: str | int | float | None) -> str:
    if value is None:
        return UNMEASURED
    if isinstance(value, str):
        return value
    if column.kind == "time":
        return _time(int(value))
    if column.kind == "share":
        return _percent(value)
    if column.kind == "mebibytes":
        return f"{value / MIB:,.3f}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _time(ns: int | None) -> str:
    return UNMEASURED if ns is None else us_grouped(ns)


def _percent(share: float | None) -> str:
    return UNMEASURED if share is None else percent_fixed(share)


def _count(value: int | None) -> str:
    return UNMEASURED if value is None else f"{value:,}"
