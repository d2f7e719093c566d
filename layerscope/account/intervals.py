"""Intervals in, the length of what they cover out."""

from __future__ import annotations

import numpy as np

from layerscope.trace.columns import Ints


def union_ns(starts: Ints, ends: Ints) -> int:
    """Length of the union of intervals. Shapes (n,), (n,)."""
    if not len(starts):
        return 0
    order = np.argsort(starts, kind="stable")
    start, end = starts[order], ends[order]
    reached = np.maximum.accumulate(end)
    # Each interval adds what it reaches beyond everything before it.
    before = np.concatenate([start[:1], np.maximum(reached[:-1], start[1:])])
    return int(np.maximum(end - before, 0).sum())
