"""Times on threads in, the phase that the user had marked there out.

A mark holds for its own thread. In a capture's window, one on the block's thread holds for threads
without a mark of their own too: the workers that it waits for, and autograd's own.
"""

from __future__ import annotations

import numpy as np

from layerscope.core.vocabulary import WINDOW_RANGE
from layerscope.trace.columns import Ints, TraceColumns
from layerscope.trace.tree import NONE, SpanTree, innermost


def window_span(columns: TraceColumns) -> int:
    """The span of the captured block; `NONE` in a trace that no capture wrote."""
    if WINDOW_RANGE not in columns.names:
        return NONE
    spans = np.flatnonzero(columns.spans.name == columns.names.index(WINDOW_RANGE))
    return int(spans[0]) if len(spans) else NONE


def marks_at(columns: TraceColumns, tree: SpanTree, thread: Ints, at_ns: Ints) -> Ints:
    """The innermost `phase:` range at each (thread, time), as an index into the spans; else `NONE`."""
    if not tree.is_phase.any():
        return np.full(len(at_ns), NONE, np.int64)
    spans = columns.spans
    found = innermost(spans, tree, tree.is_phase, thread, at_ns)
    window = window_span(columns)
    if window != NONE:
        bare = found == NONE
        of_block = np.full(int(bare.sum()), spans.thread[window], np.int64)
        found[bare] = innermost(spans, tree, tree.is_phase, of_block, at_ns[bare])
    return found
