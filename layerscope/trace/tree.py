"""Host spans in, their nesting out: who lies in whom, self time, and the innermost range at a time.

A range is a span that stands for a layer (the capture's `layer:<fqn>`, or see `layer_source`) or a
phase (`phase:<name>`); all other spans are operators. Spans of one thread nest; one that ends after
the span it started in is clamped to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from layerscope.core.vocabulary import PHASE_PREFIX
from layerscope.trace.columns import HostSpans, Ints, TraceColumns
from layerscope.trace.layer_source import Layers, our_layers

NONE = -1


@dataclass(frozen=True)
class SpanTree:
    """The nesting of host spans. Arrays are indexed like `TraceColumns.spans`; `NONE` is no span.

    Attributes:
        order: spans sorted by thread, start, longest first: parents before children.
        parent: the span each span lies in, on its thread.
        end_ns: ends after clamping; start and clamped end give every span's wall time.
        self_ns: wall time minus the walls of the spans directly inside.
        layer: the innermost layer around each span, itself included.
        phase: the innermost `phase:` range around each span, itself included.
        is_layer: the span stands for a layer.
        is_phase: the span is a `phase:` range.
        clamped: how many spans ended after the span they started in.
    """

    order: Ints
    parent: Ints
    end_ns: Ints
    self_ns: Ints
    layer: Ints
    phase: Ints
    is_layer: npt.NDArray[np.bool_]
    is_phase: npt.NDArray[np.bool_]
    clamped: int

    def layer_parent(self, span: int) -> int:
        """The layer directly around a span, itself excluded."""
        parent = int(self.parent[span])
        return int(self.layer[parent]) if parent != NONE else NONE


def build_tree(columns: TraceColumns, layers: Layers | None = None) -> SpanTree:
    """Nest the host spans of every thread. Layers are the capture's ranges unless others are given."""
    spans = columns.spans
    is_layer = (layers or our_layers(columns)).is_layer
    is_phase = _named(columns, PHASE_PREFIX)
    # lexsort is stable, so equal intervals keep the file's order, in which Kineto writes the
    # outer one first.
    keys = [-spans.dur_ns, spans.start_ns, spans.thread]
    if layers is not None and layers.source == "modules":
        # Modules stand behind the operators, yet are around them.
        keys.insert(0, (~is_layer).astype(np.int64))
    order = np.lexsort(keys).astype(np.int64)
    parent, end_ns, layer, phase, clamped = _nest(spans, order, is_layer, is_phase)
    wall = end_ns - spans.start_ns
    self_ns = wall.copy()
    inside = parent != NONE
    np.subtract.at(self_ns, parent[inside], wall[inside])
    return SpanTree(
        order=order,
        parent=parent,
        end_ns=end_ns,
        self_ns=self_ns,
        layer=layer,
        phase=phase,
        is_layer=is_layer,
        is_phase=is_phase,
        clamped=clamped,
    )


def _named(columns: TraceColumns, prefix: str) -> npt.NDArray[np.bool_]:
    by_name = np.array([name.startswith(prefix) for name in columns.names], dtype=np.bool_)
    if not len(by_name):
        return np.zeros(0, np.bool_)
    return cast("npt.NDArray[np.bool_]", by_name[columns.spans.name])


def _nest(
    spans: HostSpans,
    order: Ints,
    is_layer: npt.NDArray[np.bool_],
    is_phase: npt.NDArray[np.bool_],
) -> tuple[Ints, Ints, Ints, Ints, int]:
    """One pass over the sorted spans with a stack of the open ones."""
    count = len(order)
    # Lists, because element access on numpy arrays costs several times as much in this loop.
    start, thread = spans.start_ns.tolist(), spans.thread.tolist()
    end = (spans.start_ns + spans.dur_ns).tolist()
    layers, phases = is_layer.tolist(), is_phase.tolist()
    parent, layer, phase = [NONE] * count, [NONE] * count, [NONE] * count
    open_spans: list[int] = []
    current_thread = NONE
    clamped = 0
    for span in order.tolist():
        if thread[span] != current_thread:
            open_spans.clear()
            current_thread = thread[span]
        began = start[span]
        while open_spans and end[open_spans[-1]] <= began:
            open_spans.pop()
        if open_spans:
            above = open_spans[-1]
            parent[span] = above
            if end[span] > end[above]:
                end[span] = end[above]
                clamped += 1
            layer[span] = span if layers[span] else layer[above]
            phase[span] = span if phases[span] else phase[above]
        else:
            layer[span] = span if layers[span] else NONE
            phase[span] = span if phases[span] else NONE
        open_spans.append(span)
    return (
        np.array(parent, np.int64),
        np.array(end, np.int64),
        np.array(layer, np.int64),
        np.array(phase, np.int64),
        clamped,
    )


def innermost_layer(spans: HostSpans, tree: SpanTree, thread: Ints, at_ns: Ints) -> Ints:
    """The innermost layer open at each (thread, time); see `innermost`."""
    return innermost(spans, tree, tree.is_layer, thread, at_ns)


def innermost(
    spans: HostSpans, tree: SpanTree, kept: npt.NDArray[np.bool_], thread: Ints, at_ns: Ints
) -> Ints:
    """The innermost span of those kept that is open at each (thread, time), start <= t < end.

    Args:
        kept: which spans count, indexed like the spans.
        thread: thread of each query, shape (n,).
        at_ns: time of each query, shape (n,).

    Returns:
        Indices into the spans, `NONE` where none is open, shape (n,).
    """
    found = np.full(len(at_ns), NONE, np.int64)
    ranges = tree.order[kept[tree.order]]
    above = nearest_above(tree, kept)
    for current in np.unique(thread):
        mine = ranges[spans.thread[ranges] == current]
        if not len(mine):
            continue
        queries = np.flatnonzero(thread == current)
        position = np.searchsorted(spans.start_ns[mine], at_ns[queries], side="right") - 1
        candidate = np.where(position >= 0, mine[np.maximum(position, 0)], NONE)
        # The last range begun may have ended: climb until one is still open.
        while True:
            ended = (candidate != NONE) & (tree.end_ns[candidate] <= at_ns[queries])
            if not ended.any():
                break
            candidate[ended] = above[candidate[ended]]
        found[queries] = candidate
    return found


def nearest_above(tree: SpanTree, kept: npt.NDArray[np.bool_]) -> Ints:
    """The innermost span of those kept around each span, itself excluded; `NONE` without one."""
    parent, is_kept = tree.parent.tolist(), kept.tolist()
    above = [NONE] * len(parent)
    for span in tree.order.tolist():  # parents before children
        outer = parent[span]
        if outer != NONE:
            above[span] = outer if is_kept[outer] else above[outer]
    return np.array(above, np.int64)
