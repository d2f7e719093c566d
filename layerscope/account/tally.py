"""A trace worked out in, what was counted for each (layer, phase) out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from layerscope.account.compiled_code import CompiledCode, Placed
from layerscope.account.phases import layer_walls_ns
from layerscope.account.workings import Key, Workings
from layerscope.trace.tree import NONE


@dataclass(frozen=True)
class Tally:
    """What was counted for each (layer, phase). Nanoseconds.

    Attributes:
        modelled_ns: device time, or without a device operator time, that a model dealt out.
        how: ways in which a row's time was attributed; empty where no code was compiled.
        layers: every layer that has time, in the order in which they first ran.
    """

    calls: Counter[Key] = field(default_factory=Counter)
    kernels: Counter[Key] = field(default_factory=Counter)
    gpu_ns: Counter[Key] = field(default_factory=Counter)
    cpu_ns: Counter[Key] = field(default_factory=Counter)
    operator_ns: Counter[Key] = field(default_factory=Counter)
    modelled_ns: Counter[Key] = field(default_factory=Counter)
    how: dict[Key, dict[str, None]] = field(default_factory=dict)
    layers: dict[str, None] = field(default_factory=dict)


def tally_of(workings: Workings) -> Tally:
    """Count calls, device events and time."""
    columns, tree, ranges = workings.columns, workings.tree, workings.ranges
    tally = Tally()
    threads = {time.thread for time in workings.host_threads}
    _, own = layer_walls_ns(columns, tree, ranges)
    # Where operators stand for layers, all of a layer's own time is an operator's.
    in_operators = workings.source == "operators"
    operator_ns = own if in_operators else operator_self_by_range(workings)
    for index, item in enumerate(ranges.items):
        key = (item.layer, item.phase)
        tally.layers.setdefault(item.layer)
        # forward() inside generate() is the same module, the root: one call of it, not two.
        nested_root = item.layer == ranges.root and item.above != NONE
        tally.calls[key] += 0 if nested_root else 1
        if workings.compiled is not None and not workings.has_device:
            tally.how.setdefault(key, {}).setdefault("range")
        if int(columns.spans.thread[item.span]) in threads:
            tally.cpu_ns[key] += own[index]
            tally.operator_ns[key] += operator_ns[index]
    if workings.compiled is not None:
        _tally_sites(workings, workings.compiled, threads, tally)
    elif workings.places is not None:
        for event in range(len(workings.places.placed)):
            _note_how(workings.place(event), tally)
    for time in workings.host_threads:
        for key, outside in time.outside.items():
            if key[0] == ranges.root:  # a marked phase has its row, whatever time it has
                tally.layers.setdefault(ranges.root)
                tally.calls[key] += 0
            if outside:
                tally.cpu_ns[key] += outside
    durations = columns.device.dur_ns.tolist()
    if workings.places is None:
        for key, duration in zip(workings.keys, durations, strict=True):
            tally.kernels[key] += 1
            tally.gpu_ns[key] += duration
        return tally
    for event, duration in enumerate(durations):
        where = workings.place(event)
        tally.kernels[where.main] += 1
        for key, part in where.deal(duration):
            tally.gpu_ns[key] += part
            tally.modelled_ns[key] += part if where.modelled else 0
    return tally


def _tally_sites(workings: Workings, code: CompiledCode, threads: set[int], tally: Tally) -> None:
    """Move the host time of compiled code's kernel calls from its region to the layers in it.

    A layer counts as called by a graph's call in which any of its kernels ran; the part itself has
    been counted by its range.
    """
    columns, tree = workings.columns, workings.tree
    called: dict[tuple[int, Key], None] = {}
    for span in code.site_spans:
        call = int(code.call_of_span[span])
        where = code.place(call, int(code.site_of_span[span]))
        if where is None:
            continue
        called.update(dict.fromkeys((call, key) for key, _ in where.shares))
        around = code.calls[call].region
        if around is None or int(columns.spans.thread[span]) not in threads:
            continue
        wall = int(tree.end_ns[span] - columns.spans.start_ns[span])
        at = (around.layer, around.phase)
        tally.cpu_ns[at] -= wall
        tally.operator_ns[at] -= wall
        for key, part in where.deal(wall):
            tally.cpu_ns[key] += part
            tally.operator_ns[key] += part
            if not workings.has_device:
                tally.modelled_ns[key] += part if where.modelled else 0
                tally.how.setdefault(key, {}).setdefault(where.how)
    assert workings.places is not None
    for event, call in enumerate(workings.places.call):
        where = workings.place(event)
        _note_how(where, tally)
        if where.how not in ("", "range") and call != NONE:
            # a replay runs no kernel call on the host
            called.update(dict.fromkeys((call, key) for key, _ in where.shares))
    for number, (layer, phase) in called:
        region = code.calls[number].region
        tally.calls[layer, phase] += region is None or layer != region.layer
        tally.layers.setdefault(layer)


def _note_how(where: Placed, tally: Tally) -> None:
    for key, _ in where.shares:
        if where.how:
            tally.how.setdefault(key, {}).setdefault(where.how)
        if where.how not in ("", "range"):
            tally.layers.setdefault(key[0])


def operator_self_by_range(workings: Workings) -> list[int]:
    """Self time of the operators whose innermost range is each range."""
    tree, items, operators = workings.tree, workings.ranges.items, workings.operators
    total = np.zeros(len(tree.layer), np.int64)
    np.add.at(total, tree.layer[operators], tree.self_ns[operators])
    return total[[item.span for item in items]].tolist() if items else []
