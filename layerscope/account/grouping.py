"""Integer columns in, their sums by group out, exact in 64 bits."""

from __future__ import annotations

import numpy as np

from layerscope.trace.columns import Ints


def sums_by(groups: Ints, *values: Ints) -> tuple[Ints, list[Ints]]:
    """The groups that occur, ascending, and each column's sums over them. Shapes (n,) each, n > 0."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return ordered[starts], [np.add.reduceat(column[order], starts) for column in values]
