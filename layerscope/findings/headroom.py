"""Rows with a roofline in, findings out: layers that take much time and use little of the device.

What another finding already explains (fp32 products, attention on its math kernel) is that finding's.
The rest gets the advice that its cause asks for, not one for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from layerscope.core.units import ms, ms_two, percent
from layerscope.core.words import counted, slug
from layerscope.findings.attention import unfused_rows
from layerscope.findings.evidence import Evidence, Verdict, twins_of
from layerscope.findings.precision import islands_explain
from layerscope.records.finding import Finding, NotJudged, RestsOn, Saving
from layerscope.records.layer_table import LayerRow, flops_of
from layerscope.remedies.compile import REMEDY as COMPILE
from layerscope.remedies.tf32 import REMEDY as TF32
from layerscope.remedies.tuned import REMEDY as TUNED
from layerscope.work.roofline import sum_ns
from layerscope.work.roofline_gap import (
    down_to_roofline,
    roofline_of,
    rows_with_roofline,
)

# A pattern of layers counts as far below when it reaches less than this of its roofline ...
FAR_BELOW = 0.25
# ... and takes at least this share of the time.
LEAST_SHARE = 0.03
MOST_FINDINGS = 3
# From this many device events a call on, a layer's time is that of its many small kernels.
MANY_EVENTS = 3
# Below this much work a byte, products read their weights for few rows of input.
FEW_ROWS_FLOP_PER_BYTE = 16


def far_below_roofline(evidence: Evidence) -> Verdict:
    """All twins of a layer, taken together, far below what the measured ceilings allow."""
    measured = rows_with_roofline(evidence, "below-roofline")
    if isinstance(measured, NotJudged):
        return measured
    explained = unfused_rows(evidence) | islands_explain(evidence)
    found = []
    for (pattern, _, phase), rows in _twins(measured, explained).items():
        time, roofline = sum_ns(rows), roofline_of(rows)
        if time >= LEAST_SHARE * evidence.whole_ns and roofline < FAR_BELOW * time:
            found.append(_finding(evidence, pattern, phase, rows))
    found.sort(key=lambda finding: -(finding.saving.saved_ns or finding.concerns_ns or 0))
    return tuple(found[:MOST_FINDINGS])


def _twins(
    rows: Iterable[LayerRow], explained: set[tuple[str, str]]
) -> dict[tuple[str, str, str], list[LayerRow]]:
    """(pattern, class, phase) -> rows that differ by their numbers alone; without what is explained."""
    twins: dict[tuple[str, str, str], list[LayerRow]] = {}
    for row in rows:
        if (row.layer, row.phase) not in explained:
            twins.setdefault((twins_of(row.layer), row.module, row.phase), []).append(row)
    return twins


def _finding(evidence: Evidence, pattern: str, phase: str, rows: list[LayerRow]) -> Finding:
    time, roofline = sum_ns(rows), roofline_of(rows)
    calls, kernels = sum(row.calls for row in rows), sum(row.kernels for row in rows)
    events = f", {kernels / calls:.1f} device events a call" if calls and kernels else ""
    cause = _cause(evidence, rows)
    saving = down_to_roofline(
        evidence, rows, "down to its roofline, which no real kernel reaches in full"
    )
    if not cause.saves:
        saving = Saving(saved_ns=None, basis=_NO_SAVING[bool(cause.advice)])
    return Finding(
        id=f"below-roofline-{slug(pattern)}-{phase}",
        sentence=f"{pattern} ({phase}, {counted(len(rows), 'layer')}) takes {ms(time)}, "
        f"{percent(time / evidence.whole_ns)} of all {evidence.time_of}, where the measured "
        f"ceilings allow {ms_two(roofline)}: {percent(roofline / time)} of its roofline"
        f" ({_tilt(rows)}{events}). {cause.sentence}",
        rests_on=(RestsOn(layer=pattern, phase=phase),),
        try_next=cause.advice,
        saving=saving,
        concerns_ns=time,
    )


@dataclass(frozen=True, slots=True)
class _Cause:
    """Why a layer is far below its roofline, as far as its row tells, and what fits that."""

    sentence: str
    advice: str
    batch_alone: bool = (
        False  # nothing but a larger batch is left: it saves per sample, not of this one
    )

    @property
    def saves(self) -> bool:
        """Whether the advice shortens this batch."""
        return bool(self.advice) and not self.batch_alone


_NO_SAVING = {
    False: "nothing that layerscope knows of is left to try",
    True: "a larger batch costs less per sample; of this batch it saves nothing",
}


def _cause(evidence: Evidence, rows: list[LayerRow]) -> _Cause:
    calls, kernels = sum(row.calls for row in rows), sum(row.kernels for row in rows)
    flops, moved = flops_of(rows), sum(row.bytes_self or 0 for row in rows)
    compiled = COMPILE.name in evidence.followed
    larger = evidence.said("a larger --batch", "a larger batch")
    if evidence.on_device and _fp32_products(rows):
        if TF32.name in evidence.followed:
            return _Cause(
                "Its products are float32 with TF32 allowed.",
                f"half-precision weights; or {larger}",
            )
        return _Cause("Its products are float32.", evidence.advice(TF32))
    if _eager_attention(evidence) and any("attention" in row.group for row in rows):
        fused = evidence.said("--attention sdpa", 'attn_implementation="sdpa"')
        return _Cause(
            "Attention is computed as separate products and a softmax, as was asked for.",
            f"{fused} (one kernel for products and softmax)",
        )
    if calls and kernels >= MANY_EVENTS * calls:
        advice = "" if compiled else evidence.advice(COMPILE)
        return _Cause("Many small kernels a call, which could be one.", advice)
    if flops and moved and flops < FEW_ROWS_FLOP_PER_BYTE * moved:
        tuned = evidence.advice(TUNED) if compiled else ""
        return _Cause(
            "Few rows of input for the bytes it reads.", _joined(tuned, larger), not tuned
        )
    if not flops:
        advice = "" if compiled else evidence.advice(COMPILE)
        return _Cause("It computes little of its own: its time is memory traffic.", advice)
    advice = _joined(evidence.advice(COMPILE), larger)
    return _Cause("Its kernels are slow for these shapes.", advice, compiled)


def _eager_attention(evidence: Evidence) -> bool:
    """Whether the run was asked for attention without SDPA or flash-attn."""
    record = evidence.record
    if record is None:
        return False
    if record.config is not None:
        return record.config.attention == "eager"
    return set(record.model.attention.values()) == {"eager"}


def _fp32_products(rows: list[LayerRow]) -> bool:
    """Whether the products of these rows are computed in float32."""
    return all(row.dtype == "float32" for row in rows) and bool(flops_of(rows))


def _joined(*advice: str) -> str:
    return " or ".join(text for text in advice if text)


def _tilt(rows: list[LayerRow]) -> str:
    flops, moved = flops_of(rows), sum(row.bytes_self or 0 for row in rows)
    if not moved:
        return "no bytes counted"
    return "FLOPs not known" if flops is None else f"{flops / moved:.1f} FLOP per byte"


PLACE = 50
RULES = (far_below_roofline,)
