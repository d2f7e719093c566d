"""Rows with a roofline in; the time between them and it, and what closing that would save, out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from layerscope.records.finding import NotJudged, Saving
from layerscope.records.layer_table import LayerRow
from layerscope.work.roofline import device_ns

if TYPE_CHECKING:
    from layerscope.findings.evidence import Evidence


def rows_with_roofline(evidence: Evidence, rule: str) -> list[LayerRow] | NotJudged:
    """The rows that took time and have a roofline; without any, why this rule cannot judge."""
    rows = [row for row in evidence.rows if row.roofline_ns is not None and device_ns(row)]
    if not rows:
        return NotJudged(rule=rule, reason="no roofline: FLOPs, bytes and ceilings are needed")
    return rows


def roofline_of(rows: Sequence[LayerRow]) -> int:
    """Nanoseconds that the measured ceilings allow these rows."""
    return sum(row.roofline_ns or 0 for row in rows)


def down_to_roofline(evidence: Evidence, rows: Sequence[LayerRow], basis: str) -> Saving:
    """What these rows take beyond their roofline, of all device time."""
    by_phase: Counter[str] = Counter()
    for row in rows:
        by_phase[row.phase] += (device_ns(row) or 0) - (row.roofline_ns or 0)
    return Saving(
        saved_ns=by_phase.total(),
        by_phase=dict(by_phase),
        whole_ns=evidence.whole_ns,
        of=evidence.time_of,
        by_ceilings=True,
        basis=basis,
    )
