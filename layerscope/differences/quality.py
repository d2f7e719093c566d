"""Two runs' answers in, the change of their word error rate with its verdict out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from layerscope.differences.noise import CONFIDENCE, LEAST_FLOOR, RESAMPLES, excludes_zero
from layerscope.differences.verdict import points_verdict, reasons
from layerscope.records.comparison import MetricChange
from layerscope.records.interval import Interval
from layerscope.records.quality import PredictionScore
from layerscope.records.run_record import RunRecord
from layerscope.scores.wer import rows

Counts = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """What may be said of a change: the part of a `MetricChange` that is no number of either run."""

    verdict: str
    basis: str
    interval: Interval | None = None
    floor: float | None = None
    shown: bool = False


def wer_change(base: RunRecord, other: RunRecord) -> MetricChange:
    """Corpus WER of both, its difference with an interval over resampled samples.

    Where both answered the same samples these are resampled as pairs: the difficulty of a question
    is then no noise. The floor is 3 % of the base's WER; there are no repeats behind an answer, so
    nothing lifts it.
    """
    values = [run.quality.wer_value if run.quality else None for run in (base, other)]
    if values[0] is None or values[1] is None:
        return _absent(values[0], values[1], _why(base, other))
    ways = [run.profiled.normalisation for run in (base, other)]
    if ways[0] != ways[1]:
        why = f"answers were normalised as {ways[0]} and {ways[1]}"
        return _absent(values[0], values[1], why)
    scores = [rows(r.predictions, normalisation=ways[0]) for r in (base, other)]
    paired = _same_samples(scores[0], scores[1])
    if paired and _answers(scores[0]) == _answers(scores[1]):
        verdict = f"unchanged: all {len(scores[0])} answers are equal"
        equal = _Judged(verdict=verdict, basis="answers compared one by one")
        return _change(values[0], values[1], equal)
    if not scores[0] or not scores[1]:
        return _absent(values[0], values[1], "the answers themselves are not in the records")
    counts = [_counts(score) for score in scores]
    drawn = _drawn(counts[0], counts[1], paired=paired)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = (float(v) for v in np.percentile(drawn, [tail, 100 - tail]))
    interval = Interval(
        low=low,
        high=high,
        method=f"bootstrap over samples, {RESAMPLES:,} resamples, seed 0",
        confidence=CONFIDENCE,
    )
    change, floor = values[1] - values[0], LEAST_FLOOR * values[0]
    shown = excludes_zero(interval) and abs(change) > floor
    pairs = "the same samples on both sides, paired" if paired else "different samples, not paired"
    judged = _Judged(
        verdict=points_verdict("wer", change, interval, floor, shown=shown),
        basis=f"{pairs}; noise floor 3 % of the base",
        interval=interval,
        floor=floor,
        shown=shown,
    )
    return _change(values[0], values[1], judged)


def _change(base: float, other: float, judged: _Judged) -> MetricChange:
    return MetricChange(
        metric="wer",
        unit="",
        base=base,
        other=other,
        change=other - base,
        relative=other / base - 1 if base else None,
        interval=judged.interval,
        interval_form="absolute",
        noise_floor=judged.floor,
        shown=judged.shown,
        verdict=judged.verdict,
        basis=judged.basis,
    )


def _absent(base: float | None, other: float | None, why: str) -> MetricChange:
    return MetricChange(
        metric="wer",
        unit="",
        base=base,
        other=other,
        interval_form="absolute",
        verdict="not judged",
        absent=why,
    )


def _why(base: RunRecord, other: RunRecord) -> str:
    given = []
    for run in (base, other):
        lacks = run.quality is None or run.quality.wer_value is None
        unscored = run.report.wer_value.reason if run.captured is not None else None
        reason = (run.quality and run.quality.reason) or unscored or "answers were not scored"
        given.append(reason if lacks else None)
    return reasons(given[0], given[1])


def _same_samples(base: Sequence[PredictionScore], other: Sequence[PredictionScore]) -> bool:
    return [(s.sample_id, s.references) for s in base] == [
        (s.sample_id, s.references) for s in other
    ]


def _answers(scores: Sequence[PredictionScore]) -> list[str]:
    return [score.prediction for score in scores]


def _counts(scores: Sequence[PredictionScore]) -> Counts:
    """Errors and reference words by sample: (samples, 2)."""
    return np.array([(s.errors, s.reference_words) for s in scores], dtype=np.float64)


def _drawn(base: Counts, other: Counts, *, paired: bool) -> Counts:
    """Differences of the two corpus WERs over resamples; draws without a reference word are left."""
    generator = np.random.default_rng(0)
    first = generator.multinomial(len(base), np.full(len(base), 1 / len(base)), RESAMPLES)
    if paired:
        second = first
    else:
        second = generator.multinomial(len(other), np.full(len(other), 1 / len(other)), RESAMPLES)
    one, two = first @ base, second @ other
    usable = (one[:, 1] > 0) & (two[:, 1] > 0)
    difference: Counts = two[usable, 0] / two[usable, 1] - one[usable, 0] / one[usable, 1]
    return difference
