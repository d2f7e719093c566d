"""Calls of modules in a trace in, their decoder steps out, by the rule of `core.steps`."""

from __future__ import annotations

from collections.abc import Sequence

from layerscope.core.steps import Calls, Steps
from layerscope.core.vocabulary import CONTINUED_RANGE, PREFILL_RANGE, WINDOW_RANGE
from layerscope.trace.columns import TraceColumns
from layerscope.trace.tree import NONE, SpanTree


def steps_in(columns: TraceColumns, tree: SpanTree, calls: Calls, spans: Sequence[int]) -> Steps:
    """The steps of a trace, whose ranges say what lies in a prefill and what goes on.

    Args:
        spans: of each call its span.
    """

    def name(span: int) -> str:
        return columns.names[int(columns.spans.name[span])]

    def in_prefill(index: int) -> bool:
        outer = int(tree.parent[spans[index]])
        while outer != NONE:
            if name(outer) == PREFILL_RANGE:
                return True
            outer = int(tree.parent[outer])
        return False

    def goes_on(index: int) -> bool:
        outer = int(tree.parent[spans[index]])
        return outer != NONE and name(outer) == CONTINUED_RANGE

    # A capture's block may hold any code; a run's trace holds generate() alone.
    return Steps(calls, in_prefill, goes_on, by_hand=WINDOW_RANGE in columns.names)
