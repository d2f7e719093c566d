"""Rows of a sweep and the published tables in; what agrees, differs or cannot be compared, out.

The published numbers came from another, unnamed GPU. So seconds and joules themselves are never
judged, only their ratio to the first row of the same line; WER and FLOPs do not depend on the GPU.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from layerscope.records.interval import Interval
from layerscope.records.sweep import Estimate, ReferenceLink, SweepRow
from layerscope.stats.front import NOISE_FLOOR
from layerscope.stats.statistics import CONFIDENCE
from layerscope.stats.sweep_tables import lines_along

Verdict = Literal["agrees", "cannot be told apart", "differs", "not comparable"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
Quantity = Literal["wer_value", "latency", "energy", "flops"]

# Salesforce/instructblip-flan-t5-xl, whatever its weights.
REFERENCE_PARAMETERS = 4_022_969_088
REFERENCE_PIXELS = 224
# An interval that reaches further than this from our value, as a share of it, would hold much else, too:
# a published value in it is no agreement.
WIDE = 0.1
_DATASETS = {"textvqa": "TextVQA", "scienceqa": "ScienceQA", "coco": "COCO"}
_AXIS = {
    "batch_size": "batch_size",
    "image_size": "image_size",
    "input_length": "max_input_len",
    "optimization": "optimization",
    "gpu_vs_cpu": "device",
}
_FLOPS = re.compile(r"([\d.]+) ([GT])FLOPS")
_SCALE = {"G": 1e9, "T": 1e12}


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of a published table, verbatim but for `flops`, which is also read as a number.

    Attributes:
        flops_rounding: half of the last digit that was printed.
        unclear: what the publication leaves open, so that nothing can be judged; else empty.
    """

    wer: float
    latency_s: float
    energy_j: float
    flops_text: str
    flops: float
    flops_rounding: float
    unclear: str = ""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One number of a cell beside the published one.

    Attributes:
        ours: in the published definition; seconds per batch, joules per sample as the mean over
            batches, corpus WER, FLOPs of the last batch.
        our_ratio: to the first row of the line, with its interval; None for the first row itself
            and for what is judged as it stands.
        reason: why it was judged so; where it was judged, also what to keep in mind.
    """

    cell: str
    quantity: Quantity
    ours: Estimate
    theirs: float | None
    their_text: str
    our_ratio: Estimate | None
    their_ratio: float | None
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class _Pair:
    """One number of a cell and its published counterpart, not judged yet."""

    cell: str
    quantity: Quantity
    ours: Estimate
    theirs: float
    their_text: str

    def judged(
        self,
        verdict: Verdict,
        reason: str,
        *,
        our_ratio: Estimate | None = None,
        their_ratio: float | None = None,
    ) -> Judgement:
        return Judgement(
            cell=self.cell,
            quantity=self.quantity,
            ours=self.ours,
            theirs=self.theirs,
            their_text=self.their_text,
            our_ratio=our_ratio,
            their_ratio=their_ratio,
            verdict=verdict,
            reason=reason,
        )


def judge(
    rows: Sequence[SweepRow],
    axes: Sequence[str],
    link: ReferenceLink,
    tables: Mapping[str, Any],
) -> tuple[Judgement, ...]:
    """Every measured cell against its published row, four quantities each.

    Args:
        tables: the content of `reference_tables.json`.
    """
    axis = _AXIS.get(link.table, "")
    first = _first_rows(rows, axis, axes)
    found: list[Judgement] = []
    for row in rows:
        if not row.measured:
            continue
        published = published_row(row, link, tables)
        base = first.get(row.cell)
        if isinstance(published, str):
            found.extend(_nothing(row, published))
            continue
        base_published = (
            published_row(base, link, tables)
            if base is not None
            else "no other row to compare with"
        )
        found.append(_judge_wer(row, published))
        found.append(_judge_ratio(row, base, published, base_published, "latency"))
        found.append(_judge_ratio(row, base, published, base_published, "energy"))
        found.append(_judge_flops(row, published))
    return tuple(found)


def published_row(row: SweepRow, link: ReferenceLink, tables: Mapping[str, Any]) -> Published | str:
    """The published row of a cell, or why there is none."""
    table = tables.get(link.table)
    if table is None:
        return f"there is no published table {link.table}"
    axis = _AXIS[link.table]
    value = str(getattr(row.config, axis))
    entry = table["rows"].get(value)
    if entry is None:
        return f"the published table has no row {axis} {value}"
    if isinstance(entry, str):
        return f"the published row says: {entry}"
    if "latency" not in entry:  # one row per data set
        dataset = link.dataset or _DATASETS.get(row.config.dataset.removeprefix("synthetic-"))
        if dataset not in entry:
            return f"{row.config.dataset} stands for no data set of the published table"
        entry = entry[dataset]
    elif link.dataset is None and (unlike := _other_dataset(row, table)):
        return unlike
    return _published(entry, unclear=table.get("note", ""))


def ratio(one: Estimate, base: Estimate) -> Estimate:
    """one / base with its interval: half widths of the logarithms, added in squares."""
    if not one.value or not base.value:
        return Estimate(reason=one.reason or base.reason or "not measured")
    value = one.value / base.value
    parts = (one.interval, base.interval)
    if any(part is None or part.low <= 0 for part in parts):
        return Estimate(value=value, reason="too few runs for an interval of the ratio")
    unclaimed = next((p for p in parts if p is not None and p.confidence is None), None)
    up = math.hypot(_log_reach(one, "high"), _log_reach(base, "low"))
    down = math.hypot(_log_reach(one, "low"), _log_reach(base, "high"))
    return Estimate(
        value=value,
        interval=Interval(
            low=value * math.exp(-down),
            high=value * math.exp(up),
            method="ratio of two intervals, logarithms added in squares",
            confidence=None if unclaimed else CONFIDENCE,
            reason=unclaimed.reason if unclaimed else None,
        ),
    )


def _log_reach(estimate: Estimate, end: Literal["low", "high"]) -> float:
    assert estimate.value is not None
    assert estimate.interval is not None
    bound = estimate.interval.low if end == "low" else estimate.interval.high
    return abs(math.log(bound / estimate.value))


def _first_rows(rows: Sequence[SweepRow], axis: str, axes: Sequence[str]) -> dict[str, SweepRow]:
    """Cell -> the first measured row of its line along the table's axis."""
    return {row.cell: line[0] for _, line in lines_along(rows, axis, axes) for row in line if axis}


def _published(entry: Mapping[str, Any], unclear: str) -> Published:
    text = str(entry["flops"])
    read = _FLOPS.fullmatch(text)
    assert read is not None, f"published FLOPs {text!r}"
    digits, scale = read[1], _SCALE[read[2]]
    places = len(digits.partition(".")[2])
    return Published(
        wer=float(entry["wer_value"]),
        latency_s=float(entry["latency"]),
        energy_j=float(entry["energy"]),
        flops_text=text,
        flops=float(digits) * scale,
        flops_rounding=0.5 * 10**-places * scale,
        unclear=unclear,
    )


def _other_dataset(row: SweepRow, table: Mapping[str, Any]) -> str:
    """Why this cell's data set is not the table's; empty when it is, or when the table names none."""
    theirs = table.get("dataset")
    ours = _DATASETS.get(row.config.dataset.removeprefix("synthetic-"))
    if theirs is None or ours == theirs:
        return ""
    return f"the published table is of {theirs}, this cell of {row.config.dataset}"


def _nothing(row: SweepRow, reason: str) -> list[Judgement]:
    pairs: tuple[tuple[Quantity, Estimate], ...] = (
        ("wer_value", row.wer),
        ("latency", row.latency_s),
        ("energy", row.energy_reference_j),
        ("flops", row.flops_reference),
    )
    return [
        Judgement(
            cell=row.cell,
            quantity=quantity,
            ours=ours,
            theirs=None,
            their_text="",
            our_ratio=None,
            their_ratio=None,
            verdict="not comparable",
            reason=reason,
        )
        for quantity, ours in pairs
    ]


def _judge_wer(row: SweepRow, published: Published) -> Judgement:
    reason = published.unclear or _other_model(row) or _other_answers(row)
    verdict: Verdict = "not comparable"
    if not reason and row.config.normalisation != "none":
        reason = f"normalisation {row.config.normalisation}; the published WER most likely had none"
    if not reason and row.wer.interval is None:
        reason = row.wer.reason or "no interval"
    if not reason and row.wer.interval is not None:
        inside = row.wer.interval.low <= published.wer <= row.wer.interval.high
        verdict = _inside(row.wer) if inside else "differs"
        reason = "the published value lies " + ("inside" if inside else "outside")
        reason += " our 95 % interval" + _how_wide(verdict)
    pair = _Pair(row.cell, "wer_value", row.wer, published.wer, f"{published.wer:.4g}")
    return pair.judged(verdict, reason)


def _judge_flops(row: SweepRow, published: Published) -> Judgement:
    ours = row.flops_reference
    reason = published.unclear or _other_model(row) or _other_size(row) or _other_answers(row)
    verdict: Verdict = "not comparable"
    if not reason and ours.value is None:
        reason = ours.reason or "not counted"
    if not reason and ours.value is not None:
        off = ours.value - published.flops
        verdict = "agrees" if abs(off) <= published.flops_rounding else "differs"
        reason = f"{off / published.flops:+.2%} of the published, rounded, value"
    pair = _Pair(row.cell, "flops", ours, published.flops, published.flops_text)
    return pair.judged(verdict, reason)


def _judge_ratio(
    row: SweepRow,
    base: SweepRow | None,
    published: Published,
    base_published: Published | str,
    quantity: Literal["latency", "energy"],
) -> Judgement:
    ours, theirs = _values(row, published, quantity)
    pair = _Pair(row.cell, quantity, ours, theirs, f"{theirs:.4g}")
    reason = published.unclear or _other_model(row) or _other_size(row) or _other_device(row)
    if not reason and base is row:
        reason = "the first row: the others' ratios are to this one"
    if not reason and base is None:
        reason = "no other row of this line was measured, so there is no ratio"
    if not reason and isinstance(base_published, str):
        reason = base_published
    if reason or base is None or isinstance(base_published, str):
        return pair.judged("not comparable", reason)
    base_ours, base_theirs = _values(base, base_published, quantity)
    our_ratio, their_ratio = ratio(ours, base_ours), theirs / base_theirs
    verdict, reason = _ratio_verdict(our_ratio, their_ratio)
    if verdict != "not comparable" and (caveat := _other_answers(row)):
        reason += f"; {caveat}, so output lengths are not the published run's"
        if row.config.dataset == "synthetic-random":
            reason += f", and every input is {row.text_length} tokens long"
    return pair.judged(verdict, reason, our_ratio=our_ratio, their_ratio=their_ratio)


def _ratio_verdict(ours: Estimate, theirs: float) -> tuple[Verdict, str]:
    if ours.value is None or ours.interval is None:
        return "not comparable", ours.reason or "no interval"
    low, high = ours.interval.low * (1 - NOISE_FLOOR), ours.interval.high * (1 + NOISE_FLOOR)
    inside = low <= theirs <= high
    where = "inside" if inside else "below" if theirs < low else "above"
    verdict = _inside(ours) if inside else "differs"
    return (
        verdict,
        f"the published ratio lies {where} our interval, widened by {NOISE_FLOOR:.0%} of noise"
        + _how_wide(verdict),
    )


def _inside(ours: Estimate) -> Verdict:
    """What a published value inside our interval shows: agreement only where the interval is narrow."""
    assert ours.interval is not None
    reach = max(ours.interval.high - (ours.value or 0.0), (ours.value or 0.0) - ours.interval.low)
    return "agrees" if reach <= WIDE * abs(ours.value or 0.0) else "cannot be told apart"


def _how_wide(verdict: Verdict) -> str:
    if verdict != "cannot be told apart":
        return ""
    return f", which reaches more than {WIDE:.0%} from our value"


def _values(
    row: SweepRow, published: Published, quantity: Literal["latency", "energy"]
) -> tuple[Estimate, float]:
    if quantity == "latency":
        return row.latency_s, published.latency_s
    return row.energy_reference_j, published.energy_j


def _other_model(row: SweepRow) -> str:
    if row.parameters == REFERENCE_PARAMETERS:
        return ""
    return (
        f"another model: {row.parameters:,} parameters, the published one has "
        f"{REFERENCE_PARAMETERS:,}"
    )


def _other_answers(row: SweepRow) -> str:
    if not row.trained:
        return "the weights are not trained"
    if row.config.dataset not in _DATASETS:
        return f"{row.config.dataset} is not the published data"
    return ""


def _other_size(row: SweepRow) -> str:
    if row.pixels == REFERENCE_PIXELS:
        return ""
    return (
        f"the published model saw {REFERENCE_PIXELS} px in every row (inferred), this one really "
        f"saw {row.pixels} px"
    )


def _other_device(row: SweepRow) -> str:
    return "" if row.config.device == "cuda" else "measured on a CPU, the published row on a GPU"
