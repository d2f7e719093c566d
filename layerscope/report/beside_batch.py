"""What the host does beside each batch in, its table and its JSON out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerscope.core.microseconds import us_number
from layerscope.core.units import ms_three, percent
from layerscope.report.page import Grid
from layerscope.stats.beside_batch import BesideBatch

_UNMEASURED = "-"


def beside_grid(rows: Sequence[BesideBatch]) -> Grid:
    """A table of its own: these times lie outside the window that the account's sums are of."""
    batches = max((row.batches for row in rows), default=0)
    why = any(row.reason for row in rows)
    of = f", median of {batches} batches" if batches > 1 else ""
    return Grid(
        title=f"beside the batch: host time before generate(){of}; in no sum of the account",
        header=("phase", "host ms", "of generate()", *(["absent because"] if why else [])),
        rows=tuple(
            (
                row.name,
                _UNMEASURED if row.host_ns is None else ms_three(row.host_ns),
                _UNMEASURED if row.share is None else percent(row.share),
                *([row.reason] if why else []),
            )
            for row in rows
        ),
        text=frozenset({"absent because"}),
    )


def beside_json(rows: Sequence[BesideBatch]) -> list[dict[str, Any]]:
    """The same for programs; what was not measured is null, its reason beside it."""
    return [
        {
            "phase": row.name,
            "host_us": None if row.host_ns is None else us_number(row.host_ns),
            "share_of_generate": row.share,
            "batches": row.batches,
            "reason": row.reason or None,
        }
        for row in rows
    ]
