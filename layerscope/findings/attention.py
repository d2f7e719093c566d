"""Operators of attention layers in, a finding out where scaled-dot-product attention runs unfused."""

from __future__ import annotations

import re
from collections import defaultdict

from layerscope.core.units import ms, percent
from layerscope.core.words import counted, listed
from layerscope.findings.evidence import Evidence, Verdict, family_of
from layerscope.records.finding import Finding, NotJudged, RestsOn, Saving
from layerscope.records.run_record import RunRecord
from layerscope.records.tables import OperatorRow
from layerscope.remedies.flash import REMEDY as FLASH
from layerscope.work.roofline import device_ns, sum_ns
from layerscope.work.roofline_gap import down_to_roofline

MATH = "aten::_scaled_dot_product_attention_math"
ANY_FUSED_ENTRY = "scaled_dot_product"
PRODUCTS = frozenset({"aten::bmm", "aten::baddbmm", "aten::matmul"})
SOFTMAX = frozenset({"aten::_softmax", "aten::softmax", "aten::_safe_softmax"})

Key = tuple[str, str]

# Class -> since which transformers its attention can be fused, and why. T5's position bias was a
# permuted view until 5.20: one H100, XL, batch 16: 226.2 ms of device time with 5.17, 193.4 with 5.24.
_FIXED_IN = {"T5Attention": ("5.20", "whose position bias is contiguous, as fused kernels ask")}


def attention_on_math_kernel(evidence: Evidence) -> Verdict:
    """Attention layers that ran as single products and a softmax although SDPA was asked for.

    Either SDPA itself chose its math kernel, or (known only with a run record that says `sdpa`)
    the layer never called SDPA.
    """
    if not evidence.account.operators and not evidence.account.attention:
        return NotJudged(
            rule="attention-math-kernel", reason="no operators inside layers in the trace"
        )
    math, chosen = _chosen(evidence)
    if not chosen:
        return ()
    families: defaultdict[Key, int] = defaultdict(int)
    for (layer, phase), calls in chosen.items():
        families[family_of(layer), phase] += calls
    places = listed(
        [f"{family} ({phase}, {calls:,})" for (family, phase), calls in families.items()]
    )
    how = (
        "chose its math kernel (separate products and softmax)"
        if math
        else "was asked for and not called (separate products and softmax ran instead)"
    )
    time = _own_ns(evidence, chosen)
    layers = counted(len({layer for layer, _ in chosen}), "layer")
    return (
        Finding(
            id="attention-math-kernel",
            sentence=f"Scaled-dot-product attention {how} in {layers}, "
            f"{sum(chosen.values()):,} calls: {places}; {_takes(evidence, time)}."
            f"{_why(evidence, chosen)}",
            rests_on=tuple(RestsOn(layer=family, phase=phase) for family, phase in families),
            try_next=_try(evidence, chosen),
            saving=_saving(evidence, chosen),
            concerns_ns=time,
        ),
    )


def unfused_rows(evidence: Evidence) -> set[Key]:
    """(layer, phase) of the rows whose attention ran unfused, which this finding explains."""
    return set(_chosen(evidence)[1])


def _chosen(evidence: Evidence) -> tuple[bool, dict[Key, int]]:
    """Whether SDPA itself chose its math kernel, and calls by the place where attention ran unfused."""
    operators = evidence.account.operators
    math = {(row.layer, row.phase): row.calls for row in operators if row.operator == MATH}
    if not math:
        # Without its operators a table still says which attention ran where.
        math = {
            (r.layer, r.phase): r.calls for r in evidence.account.attention if r.backend == "math"
        }
    return bool(math), math or _unfused(evidence, operators)


def _saving(evidence: Evidence, chosen: dict[Key, int]) -> Saving:
    """Down to the roofline of these layers, which a kernel that keeps its products on chip nears."""
    rows = [row for row in evidence.rows if (row.layer, row.phase) in chosen]
    held = [row for row in rows if row.roofline_ns is not None and device_ns(row)]
    if not held or any(row.layer == evidence.account.table.root for row in rows):
        return FLASH.predict(evidence)
    return down_to_roofline(
        evidence, held, "down to its roofline: a fused kernel's own time was not measured"
    )


def _why(evidence: Evidence, chosen: dict[Key, int]) -> str:
    """What torch itself said in the count pass, where it was asked."""
    reasons = evidence.attention_reasons
    said = list(dict.fromkeys(reasons[key] for key in chosen if key in reasons))
    if said:
        return f" torch's own reason: {'; '.join(said)}."
    on_cpu = evidence.record is not None and evidence.record.how.device == "cpu"
    return " Why is not judged on a CPU." if on_cpu else ""


def _try(evidence: Evidence, chosen: dict[Key, int]) -> str:
    """An upgrade where one is known to be the remedy, else how to learn what keeps SDPA from it."""
    classes = {row.module for row in evidence.rows if (row.layer, row.phase) in chosen}
    packages = evidence.record.environment.packages if evidence.record is not None else {}
    has = packages.get("transformers", "")
    for cls, (fixed, what) in _FIXED_IN.items():
        if cls in classes and has and _version(has) < _version(fixed):
            return f"transformers {fixed} or newer (this is {has}), {what}"
    mask = "an additive mask of the product's dtype whose last dimension has stride 1"
    return (
        f"{mask}: with another one no fused kernel runs; "
        "torch.backends.cuda.can_use_efficient_attention(params, debug=True) says which condition "
        "fails"
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def _own_ns(evidence: Evidence, chosen: dict[Key, int]) -> int | None:
    """Own time of the layers; None where one is the root, whose time is that of much else."""
    if any(layer == evidence.account.table.root for layer, _ in chosen):
        return None
    return sum_ns(row for row in evidence.rows if (row.layer, row.phase) in chosen)


def _takes(evidence: Evidence, time: int | None) -> str:
    if time is None:
        return "no range of their own tells their time"
    share = percent(time / evidence.whole_ns) if evidence.whole_ns else "none"
    return f"these layers' own {evidence.time_of} is {ms(time)}, {share} of it all"


def _by_sdpa(record: RunRecord) -> bool:
    """Whether the model computes attention by torch's own function; of a capture its config says so."""
    if record.config is not None:
        return record.config.attention == "sdpa"
    return set(record.model.attention.values()) == {"sdpa"}


def _unfused(evidence: Evidence, operators: tuple[OperatorRow, ...]) -> dict[Key, int]:
    if evidence.record is None or not _by_sdpa(evidence.record):
        return {}
    seen: defaultdict[Key, dict[str, int]] = defaultdict(dict)
    for row in operators:
        seen[row.layer, row.phase][row.operator] = row.calls
    attention = {(r.layer, r.phase) for r in evidence.rows if "attention" in r.group}
    return {
        key: max(calls.get(name, 0) for name in SOFTMAX)
        for key, calls in seen.items()
        if key in attention
        and PRODUCTS & calls.keys()
        and SOFTMAX & calls.keys()
        and not any(ANY_FUSED_ENTRY in name for name in calls)
    }


PLACE = 30
RULES = (attention_on_math_kernel,)
