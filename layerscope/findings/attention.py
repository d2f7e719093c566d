"""Operators of attention layers in, a finding out where scaled-dot-product attention runs unfused."""

from __future__ import annotations

from collections import defaultdict

from layerscope.core.units import ms, percent
from layerscope.core.words import counted, listed
from layerscope.findings.evidence import Evidence, Verdict, family_of
from layerscope.records.finding import Finding, NotJudged, RestsOn
from layerscope.records.run_record import RunRecord
from layerscope.records.tables import OperatorRow
from layerscope.remedies.flash import REMEDY as FLASH
from layerscope.work.roofline import sum_ns

MATH = "aten::_scaled_dot_product_attention_math"
ANY_FUSED_ENTRY = "scaled_dot_product"
PRODUCTS = frozenset({"aten::bmm", "aten::baddbmm", "aten::matmul"})
SOFTMAX = frozenset({"aten::_softmax", "aten::softmax", "aten::_safe_softmax"})

Key = tuple[str, str]


def attention_on_math_kernel(evidence: Evidence) -> Verdict:
    """Attention layers that ran as single products and a softmax although SDPA was asked for.

    Either SDPA itself chose its math kernel, or (known only with a run record that says `sdpa`)
    the layer never called SDPA.
    """
    operators = evidence.account.operators
    if not operators:
        return NotJudged(
            rule="attention-math-kernel", reason="no operators inside layers in the trace"
        )
    math = {(row.layer, row.phase): row.calls for row in operators if row.operator == MATH}
    around = {} if math else _unfused(evidence, operators)
    chosen = math or around
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
            f"{sum(chosen.values()):,} calls: {places}; {_takes(evidence, time)}.",
            rests_on=tuple(RestsOn(layer=family, phase=phase) for family, phase in families),
            try_next=f"{FLASH.option} where the part of the model declares it; otherwise look at "
            "what keeps SDPA from a fused kernel: the mask's dtype, shape or alignment",
            saving=FLASH.predict(evidence),
            concerns_ns=time,
        ),
    )


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
