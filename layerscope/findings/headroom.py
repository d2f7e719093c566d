"""Rows with a roofline in, findings out: layers that take much time and use little of the device."""

from __future__ import annotations

from layerscope.core.units import ms, ms_two, percent
from layerscope.core.words import counted, slug
from layerscope.findings.evidence import Evidence, Verdict, by_family
from layerscope.records.finding import Finding, NotJudged, RestsOn
from layerscope.records.layer_table import LayerRow, flops_of
from layerscope.remedies.compile import REMEDY as COMPILE
from layerscope.work.roofline import sum_ns
from layerscope.work.roofline_gap import (
    down_to_roofline,
    roofline_of,
    rows_with_roofline,
)

# A family of layers counts as far below when it reaches less than this of its roofline ...
FAR_BELOW = 0.25
# ... and takes at least this share of the time.
LEAST_SHARE = 0.03
MOST_FINDINGS = 3


def far_below_roofline(evidence: Evidence) -> Verdict:
    """The same layer of every block, taken together, far below what the measured ceilings allow."""
    measured = rows_with_roofline(evidence, "below-roofline")
    if isinstance(measured, NotJudged):
        return measured
    found = []
    for (family, phase), rows in by_family(measured).items():
        time, roofline = sum_ns(rows), roofline_of(rows)
        if time >= LEAST_SHARE * evidence.whole_ns and roofline < FAR_BELOW * time:
            found.append(_finding(evidence, family, phase, rows, time, roofline))
    found.sort(key=lambda finding: -(finding.saving.saved_ns or 0))
    return tuple(found[:MOST_FINDINGS])


def _finding(
    evidence: Evidence, family: str, phase: str, rows: list[LayerRow], time: int, roofline: int
) -> Finding:
    calls, kernels = sum(row.calls for row in rows), sum(row.kernels for row in rows)
    events = f", {kernels / calls:.1f} device events a call" if calls and kernels else ""
    return Finding(
        id=f"below-roofline-{slug(family)}-{phase}",
        sentence=f"{family} ({phase}, {counted(len(rows), 'layer')}) takes {ms(time)}, "
        f"{percent(time / evidence.whole_ns)} of all {evidence.time_of}, where the measured "
        f"ceilings allow {ms_two(roofline)}: {percent(roofline / time)} of its roofline"
        f" ({_tilt(rows)}{events}).",
        rests_on=(RestsOn(layer=family, phase=phase),),
        try_next=_try(evidence),
        saving=down_to_roofline(
            evidence, rows, "down to its roofline, which no real kernel reaches in full"
        ),
        concerns_ns=time,
    )


def _try(evidence: Evidence) -> str:
    compiled = evidence.record is not None and evidence.record.optimization is not None
    how = "" if compiled else f"{COMPILE.option}, "
    return f"fused or larger kernels for this layer: {how}another --attention, or a larger --batch"


def _tilt(rows: list[LayerRow]) -> str:
    flops, moved = flops_of(rows), sum(row.bytes_self or 0 for row in rows)
    if not moved:
        return "no bytes counted"
    return "FLOPs not known" if flops is None else f"{flops / moved:.1f} FLOP per byte"


PLACE = 50
RULES = (far_below_roofline,)
