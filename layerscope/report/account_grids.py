"""A layer table in, the printable tables by phase, by group and by layer out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from layerscope.account.ranks import Rank
from layerscope.core.columns import BY_NAME, Column
from layerscope.core.microseconds import us_grouped
from layerscope.core.units import MIB, giga_three, ms_three, percent_fixed
from layerscope.core.words import counted
from layerscope.records.layer_table import LayerTable
from layerscope.records.tables import DeviceRow
from layerscope.report.columns import share_of, value_of
from layerscope.report.kinds import Kind, kinds_in, one_by_one
from layerscope.report.page import Grid
from layerscope.report.selection import (
    Selected,
    Selection,
    column_named,
    self_column,
    sorted_kinds,
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


def top_grid(
    table: LayerTable,
    top: int,
    *,
    per_block: bool = False,
    kinds: Sequence[Kind] | None = None,
) -> Grid:
    """The kinds of layers with the most self time, one row per (kind, phase); buckets are no layers.

    Args:
        per_block: each layer by itself.
        kinds: some of the table's, already folded; None: all.
    """
    own = self_column(table)
    if kinds is None:
        kinds = (one_by_one if per_block else kinds_in)(table.rows)
    kinds = [kind for kind in kinds if not kind.row.is_bucket]
    held = [kind for kind in sorted_kinds(kinds, table, own) if value_of(own, kind.row, table)]
    shown = held[:top]
    what = "layers" if per_block else "kinds of layers"
    title = f"top {len(shown)} of {counted(len(held), what, what)} by self time"
    columns = [BY_NAME["phase"], BY_NAME["calls"]]
    grid = _kinds_grid(table, title, columns, shown, _SUMMED)
    return replace(grid, spare=("calls", _BAR))


_HOST_COLUMNS = frozenset({"phase", "calls", "cpu_self_us", "cpu_total_us"})
_SHARED = "share"
_SUMMED = "share and sum"


def layer_grid(table: LayerTable, selected: Selected, selection: Selection) -> Grid:
    """The selected layers; the footer holds the self time of the rows that are not shown."""
    device, sort = _has_device(table), selection.sort
    names = ["phase", "calls", "kernels"]
    names += ["gpu_total_us", "cpu_self_us", "cpu_total_us"] if device else ["cpu_total_us"]
    names = [name for name in names if device or name in _HOST_COLUMNS]
    own = self_column(table).name
    shown = ("layer", "gpu_share", own, *names)
    if sort is not None and column_named(sort).name not in shown:
        names.append(sort)
    columns = [BY_NAME[name] for name in names]
    ranked = selection.depth is None and sort in (None, own)
    grid = _kinds_grid(
        table,
        "layers, each block" if selection.per_block else "layers by kind, equal blocks as one",
        columns,
        selected.shown,
        _SUMMED if ranked else _SHARED,
    )
    spare = ("cpu total ms", "kernels", "cpu self ms", "sum", "calls", "gpu total ms", _BAR)
    asked = None if sort is None else _label(column_named(sort))
    return replace(
        grid,
        footer=_hidden_footer(table, grid, columns, selected.hidden) if selected.hidden else None,
        spare=tuple(name for name in spare if name in grid.header and name != asked),
    )


def _hidden_footer(
    table: LayerTable, grid: Grid, columns: Sequence[Column], hidden: tuple[Kind, ...]
) -> tuple[str, ...]:
    own = self_column(table)
    time = total_of(getattr(kind.row, own.field) for kind in hidden)
    cells = {grid.header[0]: f"{len(hidden):,} more row{'' if len(hidden) == 1 else 's'}"}
    cells[_label(own)] = _time(time)
    cells["share"] = _share(share_of(time, _whole_ns(table)))
    for column in columns:
        # Totals lie inside one another: they have no sum.
        if column.adds and column.kind in ("integer", "time"):
            cells[_label(column)] = _shown(
                column, total_of(getattr(kind.row, column.field) for kind in hidden)
            )
    return tuple(cells.get(name, "") for name in grid.header)


_BAR = " "
_BAR_CELLS = 8


def _kinds_grid(
    table: LayerTable,
    title: str,
    columns: Sequence[Column],
    kinds: Sequence[Kind],
    shares: str,
) -> Grid:
    """Names, own time and its share with a bar, then the columns.

    Args:
        shares: `share`, or `share and sum`: what the rows down to this one hold together.
    """
    own = self_column(table)
    whole = _whole_ns(table)
    header = ["layer", _label(own), "share", _BAR]
    header += ["sum"] if shares != _SHARED else []
    before = [column for column in columns if column.kind == "text"]
    after = [column for column in columns if column.kind != "text"]
    held, rows = 0, []
    # A bar is full where the share is the largest here: 19 % would hardly be seen of 100.
    largest = max((share_of(getattr(k.row, own.field), whole) or 0 for k in kinds), default=0)
    for kind in kinds:
        time = getattr(kind.row, own.field)
        held += time or 0
        share = share_of(time, whole)
        cells = [kind.name]
        cells += [_shown(c, value_of(c, kind.row, table)) for c in before]
        part = share / largest if share is not None and largest else 0
        cells += [_time(time), _share(share), bar_text(part, _BAR_CELLS)]
        cells += [_share(share_of(held, whole))] if shares != _SHARED else []
        cells += [_shown(c, value_of(c, kind.row, table)) for c in after]
        rows.append(tuple(cells))
    labels = [_label(column) for column in before]
    return Grid(
        title=title,
        header=(header[0], *labels, *header[1:], *(_label(column) for column in after)),
        rows=tuple(rows),
        text=frozenset({*labels, _BAR}),
        marks={
            at: _style(share_of(getattr(k.row, own.field), whole)) for at, k in enumerate(kinds)
        },
    )


def bar_text(part: float, cells: int) -> str:
    """A part of 0 to 1 as a bar of at most so many cells, to half a cell."""
    halves = round(2 * cells * min(1.0, max(0.0, part)))
    return "█" * (halves // 2) + "▌" * (halves % 2)


def _style(share: float | None) -> str:
    """A row's colour by its share of the whole."""
    if share is None:
        return ""
    return "bold red" if share >= 0.1 else "bold" if share >= 0.05 else ""


def _whole_ns(table: LayerTable) -> int | None:
    whole = table.whole
    return whole.device_sum_ns if _has_device(table) else whole.host_window_ns


def _part_grid(table: LayerTable, parts: tuple[Part, ...], name: str, title: str) -> Grid:
    columns: list[tuple[str, Callable[[Part], str]]] = []
    if _has_device(table):
        columns.append(("kernels", lambda part: f"{part.kernels:,}"))
        columns.append(("gpu self ms", lambda part: _time(part.gpu_self_ns)))
        columns.append(("gpu share", lambda part: _percent(part.gpu_share)))
    if table.whole.host_window_ns is not None:
        columns.append(("cpu self ms", lambda part: _time(part.cpu_self_ns)))
        columns.append(("cpu share", lambda part: _percent(part.cpu_share)))
    if any(part.flops_self is not None for part in parts):
        columns.append(("GFLOP", lambda part: _giga(part.flops_self)))
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
    """Its name in words; times stand in ms, FLOPs in GFLOP."""
    words = column.name.replace("_", " ")
    if column.kind == "time":
        return words.removesuffix("us") + "ms"
    return words.replace("flops", "GFLOP") if column.unit == "FLOP" else words


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
    if column.unit == "FLOP":
        return giga_three(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _share(share: float | None) -> str:
    return UNMEASURED if share is None else f"{100 * share:.1f} %"


def _time(ns: int | None) -> str:
    return UNMEASURED if ns is None else ms_three(ns)


def _percent(share: float | None) -> str:
    return UNMEASURED if share is None else percent_fixed(share)


def _giga(value: int | None) -> str:
    return UNMEASURED if value is None else giga_three(value)
