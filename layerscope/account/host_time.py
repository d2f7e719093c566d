"""Ranges of a trace in, each thread's window and its time outside all layers out (rule 2).

In a capture's trace the block's thread has the block for its window, every other thread with ranges
reaches from its first to its last. Any other trace is accounted for on the calling thread alone, from
its first root range to its last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from layerscope.account.marked_phases import window_span
from layerscope.account.phases import LayerRange, Ranges, layer_walls_ns, phase_named
from layerscope.core.vocabulary import OUTSIDE_MODEL
from layerscope.records.layer_table import ThreadWindow
from layerscope.trace.columns import TraceColumns
from layerscope.trace.tree import NONE, SpanTree

if TYPE_CHECKING:
    from layerscope.account.workings import Workings

Key = tuple[str, str]  # (layer, phase)


@dataclass(frozen=True)
class ThreadTime:
    """One thread's host time. Nanoseconds.

    Attributes:
        thread: index into the trace's threads.
        window_ns: what its layers' own times and `outside` sum to.
        outside: time in no layer, by (layer, phase): the root's in a marked phase, else the bucket's.
    """

    thread: int
    window_ns: int
    outside: Counter[Key]


def thread_times(
    columns: TraceColumns, tree: SpanTree, ranges: Ranges, roots: Sequence[LayerRange]
) -> tuple[ThreadTime, ...]:
    """Host time outside layers, by thread; the block's or the calling thread first."""
    window = window_span(columns)
    if window == NONE:
        return _calling_thread_alone(columns, tree, ranges, roots)
    in_no_layer = np.flatnonzero(tree.is_phase & (tree.layer == NONE))
    tops = [window, *in_no_layer.tolist(), *(root.span for root in roots)]
    threads = columns.spans.thread[tops]
    block = int(columns.spans.thread[window])
    others = [t for t in dict.fromkeys(threads.tolist()) if t != block]
    found = []
    for thread in (block, *others):
        mine = [top for top, of in zip(tops, threads.tolist(), strict=True) if of == thread]
        found.append(_of_thread(thread, mine, window, columns, tree, ranges))
    return tuple(found)


def thread_windows(workings: Workings) -> tuple[ThreadWindow, ...]:
    """Each thread's window, and what its rows add up to."""
    columns = workings.columns
    _, own = layer_walls_ns(columns, workings.tree, workings.ranges)
    inside: Counter[int] = Counter()
    for item, own_ns in zip(workings.ranges.items, own, strict=True):
        inside[int(columns.spans.thread[item.span])] += own_ns
    return tuple(
        ThreadWindow(
            thread=columns.threads[time.thread][1],
            window_ns=time.window_ns,
            rows_ns=inside[time.thread] + time.outside.total(),
        )
        for time in workings.host_threads
    )


def _of_thread(
    thread: int,
    tops: list[int],
    window: int,
    columns: TraceColumns,
    tree: SpanTree,
    ranges: Ranges,
) -> ThreadTime:
    """Walk the outermost layers of a thread and the marks around them, each inside its own."""
    start, end = columns.spans.start_ns, tree.end_ns
    place = (
        {span: number for number, span in enumerate(tree.order.tolist())} if len(tops) > 1 else {}
    )
    tops.sort(key=lambda span: place.get(span, 0))
    outside: Counter[Key] = Counter()
    bucket = (OUTSIDE_MODEL, ranges.resting_phase)
    around: list[int] = []
    for span in tops:
        wall = int(end[span] - start[span])
        while around and end[around[-1]] <= start[span]:
            around.pop()
        if around or span != window:
            outside[_key(around[-1], columns, window, ranges) if around else bucket] -= wall
        if not tree.is_layer[span]:
            outside[_key(span, columns, window, ranges)] += wall
            around.append(span)
    if thread == int(columns.spans.thread[window]):
        window_ns = int(end[window] - start[window])
    else:
        window_ns = int(end[tops].max() - start[tops].min())
        outside[bucket] += window_ns
    return ThreadTime(thread, window_ns, outside)


def _key(span: int, columns: TraceColumns, window: int, ranges: Ranges) -> Key:
    if span == window:
        return (OUTSIDE_MODEL, ranges.resting_phase)
    return (ranges.root, phase_named(columns, span))


def _calling_thread_alone(
    columns: TraceColumns, tree: SpanTree, ranges: Ranges, roots: Sequence[LayerRange]
) -> tuple[ThreadTime, ...]:
    """The thread whose roots take the most time: host time is accounted for on it alone."""
    walls: Counter[int] = Counter()
    for root in roots:
        wall = int(tree.end_ns[root.span] - columns.spans.start_ns[root.span])
        walls[int(columns.spans.thread[root.span])] += wall + 1
    if not walls:
        return ()
    thread = walls.most_common(1)[0][0]
    spans = [root.span for root in roots if columns.spans.thread[root.span] == thread]
    window_ns = int(tree.end_ns[spans].max() - columns.spans.start_ns[spans].min())
    inside_ns = int((tree.end_ns[spans] - columns.spans.start_ns[spans]).sum())
    bucket = (OUTSIDE_MODEL, ranges.resting_phase)
    return (ThreadTime(thread, window_ns, Counter({bucket: window_ns - inside_ns})),)
