"""A trace worked out in, the tables beside the layer table out: kernels, operators, decoder steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from layerscope.account.compiled_code import CompiledCode
from layerscope.account.grouping import sums_by
from layerscope.account.workings import Key, Workings
from layerscope.records.tables import KernelRow, OperatorRow, StepRow
from layerscope.trace.columns import LAUNCH_KINDS
from layerscope.trace.tree import NONE


def kernel_rows(workings: Workings) -> tuple[KernelRow, ...]:
    """Kernels by layer; one that several layers share counts in the one with the largest share."""
    if workings.places is None:
        return _kernels_of_one_layer_each(workings)
    columns = workings.columns
    count: Counter[tuple[int, Key, int]] = Counter()
    total: Counter[tuple[int, Key, int]] = Counter()
    launch_kind = columns.launches.kind.tolist()
    launches = workings.links.launch.tolist()
    names = columns.device.name.tolist()
    for event, (name, key) in enumerate(zip(names, workings.keys, strict=True)):
        kind = launch_kind[launches[event]] if launches[event] != NONE else 0
        count[name, key, kind] += 1
        for to, part in workings.parts(event):
            total[name, to, kind] += part
    return _largest_first(
        KernelRow(columns.names[row[0]], *row[1], count[row], total[row], LAUNCH_KINDS[row[2]])
        for row in dict.fromkeys((*count, *total))
    )


def _kernels_of_one_layer_each(workings: Workings) -> tuple[KernelRow, ...]:
    """The same sums where no kernel is shared, without a step of Python for each event."""
    device, launch = workings.columns.device, workings.links.launch
    if not len(device.name):
        return ()
    codes: dict[Key, int] = {}
    key = np.array([codes.setdefault(key, len(codes)) for key in workings.keys], np.int64)
    kind = np.zeros(len(launch), np.int64)
    kind[launch != NONE] = workings.columns.launches.kind[launch[launch != NONE]]
    kinds, keys = len(LAUNCH_KINDS), tuple(codes)
    groups = (device.name * len(keys) + key) * kinds + kind
    found, (counts, totals) = sums_by(groups, np.ones(len(groups), np.int64), device.dur_ns)
    rows = []
    for group, count, total in zip(found.tolist(), counts.tolist(), totals.tolist(), strict=True):
        layer, phase = keys[group // kinds % len(keys)]
        name = workings.columns.names[group // kinds // len(keys)]
        rows.append(KernelRow(name, layer, phase, count, total, LAUNCH_KINDS[group % kinds]))
    return _largest_first(rows)


def _largest_first(rows: Iterable[KernelRow]) -> tuple[KernelRow, ...]:
    return tuple(sorted(rows, key=lambda r: (-r.total_ns, r.kernel, r.layer, r.phase, r.launch)))


def operator_rows(workings: Workings) -> tuple[OperatorRow, ...]:
    """Every operator inside a layer range, by name, layer and phase.

    One in compiled code that several layers share stands in the row of the largest share.
    """
    columns, tree, ranges = workings.columns, workings.tree, workings.ranges
    spans = workings.operators
    if not len(spans):
        return ()
    codes: dict[Key, int] = {}
    code_of_span = np.zeros(len(tree.layer), np.int64)
    for item in ranges.items:
        code_of_span[item.span] = codes.setdefault((item.layer, item.phase), len(codes))
    code_of_span = code_of_span[tree.layer]
    for span, key in _sites_layers(workings.compiled):
        code_of_span[span] = codes.setdefault(key, len(codes))
    keys = tuple(codes)
    walls = tree.end_ns[spans] - columns.spans.start_ns[spans]
    groups = columns.spans.name[spans] * len(keys) + code_of_span[spans]
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


def _sites_layers(code: CompiledCode | None) -> Iterator[tuple[int, Key]]:
    """Every span in a call site of known layers, with the layer of the largest share."""
    if code is None:
        return
    for span in np.flatnonzero(code.site_of_span != NONE).tolist():
        where = code.place(int(code.call_of_span[span]), int(code.site_of_span[span]))
        if where is not None:
            yield span, where.main


def step_rows(workings: Workings) -> tuple[StepRow, ...]:
    """Every decoder step, with the device time launched in it."""
    columns, tree, ranges = workings.columns, workings.tree, workings.ranges
    step_of_item = np.array([item.step for item in ranges.items], np.int64)
    inside = workings.links.layer != NONE
    gpu: Counter[int] = Counter()
    kernels: Counter[int] = Counter()
    if inside.any():
        items = [ranges.of_span[span] for span in workings.links.layer[inside].tolist()]
        found, (counts, totals) = sums_by(
            step_of_item[items], np.ones(len(items), np.int64), columns.device.dur_ns[inside]
        )
        gpu.update(dict(zip(found.tolist(), totals.tolist(), strict=True)))
        kernels.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
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
                    gpu_ns=gpu[item.step] if workings.has_device else None,
                    cpu_ns=wall,
                    kernels=kernels[item.step],
                )
            )
    return tuple(rows)
