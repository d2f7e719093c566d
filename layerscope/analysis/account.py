"""A trace's columns in, its whole account out: the layer table, kernels, operators and steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from layerscope.analysis.devices import device_rows, rank_of
from layerscope.analysis.grouping import sums_by
from layerscope.analysis.intervals import union_ns
from layerscope.analysis.layers import build_rows
from layerscope.analysis.phases import LayerRange, Ranges, layer_walls_ns, read_ranges
from layerscope.analysis.structure import expected_calls
from layerscope.records import LayerTable, ModuleRecord, Whole
from layerscope.records.tables import Account, KernelRow, LayerSource, OperatorRow, StepRow
from layerscope.taxonomy import BEFORE_WINDOW, NO_LAUNCH_RECORD, OUTSIDE_MODEL
from layerscope.trace.attribution import Attribution, attribute
from layerscope.trace.columns import LAUNCH_KINDS, TraceColumns, read_trace
from layerscope.trace.layer_source import Layers, find_layers, our_layers
from layerscope.trace.tree import NONE, SpanTree, build_tree

Key = tuple[str, str]  # (layer, phase)


@dataclass(frozen=True)
class Tally:
    """What was counted for each (layer, phase). Nanoseconds."""

    calls: Counter[Key]
    kernels: Counter[Key]
    gpu_ns: Counter[Key]
    cpu_ns: Counter[Key]
    operator_ns: Counter[Key]


@dataclass(frozen=True)
class Workings:
    """A trace with everything that follows from it alone: nesting, ranges, launches, layers.

    `keys` holds the (layer, phase) of every device event.
    """

    columns: TraceColumns
    tree: SpanTree
    ranges: Ranges
    links: Attribution
    keys: tuple[Key, ...]
    source: LayerSource = "ranges"


def work_out(columns: TraceColumns, layers: Layers | None = None) -> Workings:
    """Nest the spans, name the ranges and attribute the device events of a trace.

    Layers are the capture's own ranges unless others are given, see `find_layers`.
    """
    layers = layers or our_layers(columns)
    columns = layers.columns
    tree = build_tree(columns, layers)
    ranges = read_ranges(columns, tree, layers)
    links = attribute(columns, tree)
    keys = tuple(_device_keys(columns, ranges, links))
    return Workings(columns, tree, ranges, links, keys, layers.source)


def account_of(
    path: Path, modules: Sequence[ModuleRecord] = (), steps: int | None = None
) -> Account:
    """Read a trace file and account for it, by the best layers it has; see `account`."""
    columns = read_trace(path)
    # A capture's own trace has its ranges, or no layers at all.
    workings = work_out(columns, our_layers(columns) if modules else find_layers(columns))
    return account(workings, source=str(path), modules=modules, steps=steps)


def account(
    workings: Workings,
    *,
    source: str,
    modules: Sequence[ModuleRecord] = (),
    steps: int | None = None,
    compiled: Sequence[str] = (),
) -> Account:
    """Account for a trace.

    Args:
        workings: the trace, worked out.
        source: where it came from, for the tables' heading.
        modules: the model's modules, if known: class names, groups and parameters come from here.
        steps: decoder steps counted outside the trace, for rule 4; None leaves that rule out.
        compiled: FQNs of the parts that ran compiled; a part is one row, without layers inside.

    Returns:
        The account. It is not checked here: `account.table.check()` does.
    """
    columns, tree, ranges = workings.columns, workings.tree, workings.ranges
    links, keys = workings.links, workings.keys
    tally = _tally(workings)
    expected, notes = _expected(ranges, modules, steps, compiled)
    table = LayerTable(
        rows=build_rows(tally, ranges, modules, has_device=_has_device(columns)),
        root=ranges.root,
        whole=_whole(columns, tree, ranges),
        expected_calls=expected,
        notes=notes,
        warnings=_warnings(columns, tree, ranges, links),
    )
    return Account(
        table=table,
        kernels=_kernel_rows(columns, links, keys),
        operators=_operator_rows(columns, tree, ranges),
        steps=_step_rows(columns, tree, ranges, links),
        source=source,
        devices=device_rows(columns, links, keys),
        layer_source=workings.source,
        rank=rank_of(columns.metadata),
    )


def _has_device(columns: TraceColumns) -> bool:
    return len(columns.device.name) > 0


def _roots(ranges: Ranges) -> list[LayerRange]:
    return [item for item in ranges.items if item.above == NONE]


def _calling_thread(columns: TraceColumns, tree: SpanTree, ranges: Ranges) -> int:
    """The thread whose roots take the most time: host time is accounted for on it alone."""
    wall: Counter[int] = Counter()
    for item in _roots(ranges):
        thread = int(columns.spans.thread[item.span])
        wall[thread] += 1 + int(tree.end_ns[item.span] - columns.spans.start_ns[item.span])
    return wall.most_common(1)[0][0] if wall else NONE


def _device_keys(columns: TraceColumns, ranges: Ranges, links: Attribution) -> list[Key]:
    """The (layer, phase) of every device event; a bucket where no layer launched it."""
    items = ranges.items
    of_span = ranges.of_span
    rest = ranges.resting_phase
    first_root = min((int(columns.spans.start_ns[r.span]) for r in _roots(ranges)), default=None)
    keys: list[Key] = []
    for span, launch, start in zip(
        links.layer.tolist(), links.launch.tolist(), columns.device.start_ns.tolist(), strict=True
    ):
        if span != NONE:
            item = items[of_span[span]]
            keys.append((item.layer, item.phase))
        elif launch != NONE:
            keys.append((OUTSIDE_MODEL, rest))
        elif first_root is not None and start < first_root:
            keys.append((BEFORE_WINDOW, rest))
        else:
            keys.append((NO_LAUNCH_RECORD, rest))
    return keys


def _tally(workings: Workings) -> Tally:
    columns, tree, ranges = workings.columns, workings.tree, workings.ranges
    tally = Tally(Counter(), Counter(), Counter(), Counter(), Counter())
    thread = _calling_thread(columns, tree, ranges)
    _, own = layer_walls_ns(columns, tree, ranges)
    # Where operators stand for layers, all of a layer's own time is an operator's.
    in_operators = workings.source == "operators"
    operator_ns = own if in_operators else _operator_self_by_range(columns, tree, ranges)
    for index, item in enumerate(ranges.items):
        key = (item.layer, item.phase)
        # forward() inside generate() is the same module, the root: one call of it, not two.
        nested_root = item.layer == ranges.root and item.above != NONE
        tally.calls[key] += 0 if nested_root else 1
        if columns.spans.thread[item.span] == thread:
            tally.cpu_ns[key] += own[index]
            tally.operator_ns[key] += operator_ns[index]
    outside = _host_window_ns(columns, tree, ranges) - sum(tally.cpu_ns.values())
    if outside:
        tally.cpu_ns[OUTSIDE_MODEL, ranges.resting_phase] += outside
    for key, duration in zip(workings.keys, columns.device.dur_ns.tolist(), strict=True):
        tally.kernels[key] += 1
        tally.gpu_ns[key] += duration
    return tally


def _operator_self_by_range(columns: TraceColumns, tree: SpanTree, ranges: Ranges) -> list[int]:
    """Self time of the operators whose innermost range is each range."""
    operators = np.flatnonzero(~tree.is_layer & ~tree.is_phase & (tree.layer != NONE))
    total = np.zeros(len(tree.layer), np.int64)
    np.add.at(total, tree.layer[operators], tree.self_ns[operators])
    return total[[item.span for item in ranges.items]].tolist() if ranges.items else []


def _host_window_ns(columns: TraceColumns, tree: SpanTree, ranges: Ranges) -> int:
    """First root's start to last root's end on the calling thread."""
    thread = _calling_thread(columns, tree, ranges)
    spans = [r.span for r in _roots(ranges) if columns.spans.thread[r.span] == thread]
    if not spans:
        return 0
    return int(tree.end_ns[spans].max() - columns.spans.start_ns[spans].min())


def _whole(columns: TraceColumns, tree: SpanTree, ranges: Ranges) -> Whole:
    device = columns.device
    roots = [r.span for r in _roots(ranges)]
    starts = np.concatenate([device.start_ns, columns.spans.start_ns[roots]])
    ends = np.concatenate([device.start_ns + device.dur_ns, tree.end_ns[roots]])
    has_device = _has_device(columns)
    return Whole(
        device_events=len(device.name),
        device_sum_ns=int(device.dur_ns.sum()) if has_device else None,
        device_active_ns=_active_ns(columns) if has_device else None,
        window_span_ns=int(ends.max() - starts.min()) if len(starts) else None,
        host_window_ns=_host_window_ns(columns, tree, ranges) if roots else None,
    )


def _active_ns(columns: TraceColumns) -> int:
    """Union of the device intervals, per device, added up over the devices."""
    device = columns.device
    total = 0
    for current in np.unique(device.device):
        mine = device.device == current
        total += union_ns(device.start_ns[mine], device.start_ns[mine] + device.dur_ns[mine])
    return total


def _kernel_rows(
    columns: TraceColumns, links: Attribution, keys: Sequence[Key]
) -> tuple[KernelRow, ...]:
    count: Counter[tuple[int, Key, int]] = Counter()
    total: Counter[tuple[int, Key, int]] = Counter()
    launch_kind = columns.launches.kind.tolist()
    for name, launch, key, duration in zip(
        columns.device.name.tolist(),
        links.launch.tolist(),
        keys,
        columns.device.dur_ns.tolist(),
        strict=True,
    ):
        row = (name, key, launch_kind[launch] if launch != NONE else 0)
        count[row] += 1
        total[row] += duration
    rows = [
        KernelRow(
            columns.names[name],
            layer,
            phase,
            n,
            total[name, (layer, phase), kind],
            LAUNCH_KINDS[kind],
        )
        for (name, (layer, phase), kind), n in count.items()
    ]
    return tuple(sorted(rows, key=lambda r: (-r.total_ns, r.kernel, r.layer, r.phase, r.launch)))


def _operator_rows(
    columns: TraceColumns, tree: SpanTree, ranges: Ranges
) -> tuple[OperatorRow, ...]:
    """Every operator inside a layer range, by name, layer and phase."""
    spans = np.flatnonzero(~tree.is_layer & ~tree.is_phase & (tree.layer != NONE))
    if not len(spans):
        return ()
    codes: dict[Key, int] = {}
    code_of_span = np.zeros(len(tree.layer), np.int64)
    for item in ranges.items:
        code_of_span[item.span] = codes.setdefault((item.layer, item.phase), len(codes))
    keys = tuple(codes)
    walls = tree.end_ns[spans] - columns.spans.start_ns[spans]
    groups = columns.spans.name[spans] * len(keys) + code_of_span[tree.layer[spans]]
    found, (calls, self_ns, wall_ns) = sums_by(
        groups, np.ones(len(spans), np.int64), tree.self_ns[spans], walls
    )
    rows = []
    for group, n, own, wall in zip(
        found.tolist(), calls.tolist(), self_ns.tolist(), wall_ns.tolist(), strict=True
    ):
        layer, phase = keys[group % len(keys)]
        name = columns.names[group // len(keys)]
        rows.append(OperatorRow(name, layer, phase, n, own, wall))
    return tuple(sorted(rows, key=lambda r: (-r.self_ns, r.operator, r.layer, r.phase)))


def _step_rows(
    columns: TraceColumns, tree: SpanTree, ranges: Ranges, links: Attribution
) -> tuple[StepRow, ...]:
    has_device = _has_device(columns)
    gpu: Counter[int] = Counter()
    kernels: Counter[int] = Counter()
    for span, duration in zip(links.layer.tolist(), columns.device.dur_ns.tolist(), strict=True):
        if span != NONE:
            step = ranges.items[ranges.of_span[span]].step
            kernels[step] += 1
            gpu[step] += duration
    rows = []
    for item in ranges.items:
        begins = item.step != NONE and (
            item.above == NONE or ranges.items[item.above].step != item.step
        )
        if begins:
            wall = int(tree.end_ns[item.span] - columns.spans.start_ns[item.span])
            rows.append(
                StepRow(
                    step=item.step,
                    phase=item.phase,
                    gpu_ns=gpu[item.step] if has_device else None,
                    cpu_ns=wall,
                    kernels=kernels[item.step],
                )
            )
    return tuple(rows)


def _expected(
    ranges: Ranges,
    modules: Sequence[ModuleRecord],
    steps: int | None,
    compiled: Sequence[str],
) -> tuple[dict[str, int] | None, tuple[str, ...]]:
    if not modules:
        return None, ("rule 4 (calls) not applicable: no list of modules stands beside the trace",)
    batches = sum(item.layer == ranges.root for item in _roots(ranges))
    expected = expected_calls(modules, steps or 0, batches, compiled)
    if expected is None:
        return None, ("rule 4 (calls) not applicable: this model's structure is not described",)
    if steps is None:
        return None, ("rule 4 (calls) not applicable: no decoder steps counted outside the trace",)
    if compiled:
        return expected, (
            f"compiled regions, each one row: {', '.join(compiled)}; rule 4 (calls) is judged for "
            "these and for layers outside them",
        )
    return expected, ()


def _warnings(
    columns: TraceColumns, tree: SpanTree, ranges: Ranges, links: Attribution
) -> tuple[str, ...]:
    found = list(columns.warnings)
    if tree.clamped:
        found.append(f"{tree.clamped} host spans ended after the span they began in; clamped to it")
    if links.ambiguous:
        found.append(
            f"{links.ambiguous} device events share a correlation id between processes; "
            "matched by External id and time"
        )
    if not ranges.items and _has_device(columns):
        found.append("no layer ranges in this trace: all device time lies outside the model")
    threads = {int(columns.spans.thread[r.span]) for r in _roots(ranges)}
    if len(threads) > 1:
        found.append(
            f"layers ran on {len(threads)} threads; host time is that of the calling thread alone"
        )
    if len(columns.launches.name) and not _has_device(columns):
        found.append(
            f"{len(columns.launches.name)} launches but no device events: CUPTI recorded none, "
            "so device times are absent; `layerscope doctor` tests CUPTI"
        )
    if len(np.unique(columns.device.device)) > 1:
        found.append("several devices: active time is the sum over the devices")
    return tuple(found)
