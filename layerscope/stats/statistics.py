"""Statistics of raw samples: in go samples, out come their summary, its interval and a verdict.

Intervals are 95 %, two-sided, by the method that keeps its coverage at small n:

* median of batches in the order taken: order statistics, interpolated to 95 % (Hettmansperger and
  Sheather 1986), which assume no distribution; then widened as far as neighbours may be alike
  (`neighbours`). Below 24 samples nobody can tell how alike they are: the range stays, as if they were
  independent, and is called 95 % no longer.
* mean, ratio of sums of amounts such as joules: studentised bootstrap (Efron and Tibshirani 1993,
  section 12.5), seeded; below eight samples, where resamples repeat too few values, Student's t on
  the same error. Not for counts of rare events, see `error_rate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import comb, exp, lgamma, log, sqrt

import numpy as np
from numpy.typing import NDArray

from layerscope.records.interval import Interval
from layerscope.stats.neighbours import widening
from layerscope.stats.student import t_975

CONFIDENCE = 0.95
RESAMPLES = 2000
TARGET = 0.05

# Two points of the sample bracket the median with 93.75 % at best from five samples, less below.
_MIN_FOR_MEDIAN = 5
# From so many on, how alike neighbours are can be seen well enough: coverage in docs/method-latency.md.
LEAST_FOR_COVERAGE = 24
_MIN_FOR_BOOTSTRAP = 8
_MIN_FOR_DRIFT = 3
_CACHED_CELLS = 1 << 21
_OUTLIER_FACTOR = 1.5

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class LatencySummary:
    """The statistics of one set of latencies, in nanoseconds.

    Percentiles interpolate linearly between the sorted samples, so with fewer than 100 samples
    `p99_ns` lies between the two largest.

    Attributes:
        interval: of the median; None below five samples, without a confidence below 24.
        p90_interval: as if batches were independent; None below 36 samples, and `p99_interval`
            below 368: fewer cannot lie on both sides of the percentile with 95 %.
        relative_half_width: of `interval`, as a fraction of the median.
        samples_per_s: batch size over the median; None without a batch size.
        unstable: what makes the numbers unsafe to quote, in words; empty when nothing does.
    """

    count: int
    median_ns: float
    p90_ns: float
    p99_ns: float
    min_ns: float
    mean_ns: float
    interval: Interval | None
    p90_interval: Interval | None
    p99_interval: Interval | None
    relative_half_width: float | None
    samples_per_s: float | None
    unstable: tuple[str, ...]


def summarise(
    samples_ns: Sequence[int], *, batch_size: int | None = None, target: float = TARGET
) -> LatencySummary:
    """Summarise the latencies of equal batches in the order taken, warm-ups and partial ones left out.

    Raises:
        ValueError: there is no sample.
    """
    if not samples_ns:
        raise ValueError("no latency samples to summarise")
    values = np.sort(np.asarray(samples_ns, dtype=np.float64))
    middle = float(np.median(values))
    p90, p99 = (float(value) for value in np.percentile(values, [90, 99]))
    return LatencySummary(
        count=len(values),
        median_ns=middle,
        p90_ns=p90,
        p99_ns=p99,
        min_ns=float(values[0]),
        mean_ns=float(values.mean()),
        interval=median_interval(samples_ns),
        p90_interval=quantile_interval(values, 0.90),
        p99_interval=quantile_interval(values, 0.99),
        relative_half_width=relative_half_width(samples_ns),
        samples_per_s=batch_size * 1e9 / middle if batch_size and middle > 0 else None,
        unstable=instabilities(samples_ns, target),
    )


def widened(
    summary: LatencySummary, later_paces: Sequence[float], target: float = TARGET
) -> LatencySummary:
    """The summary with an interval that also covers a host whose pace drifts.

    Batches timed one after the other share the host's pace of that moment, so their interval says
    nothing of the next minute. Every later window of the same work is one more draw of that pace:
    Student's t over the windows' paces, in logarithms, the measured window's own pace being 1. The
    interval is the hull of both, so it holds the median and is never narrower than the samples'.

    Args:
        later_paces: time of a later window's batches over the measured time of the same batches.
            Fewer than three leave the summary as it is: two windows say too little of a spread.
    """
    if len(later_paces) < _MIN_FOR_DRIFT:
        return summary
    logs = np.log([1.0, *later_paces])
    reach = t_975(len(logs) - 1) * float(logs.std(ddof=1)) / sqrt(len(logs))
    low = summary.median_ns * exp(float(logs.mean()) - reach)
    high = summary.median_ns * exp(float(logs.mean()) + reach)
    own = summary.interval
    interval = Interval(
        low=min(low, own.low if own else summary.median_ns),
        high=max(high, own.high if own else summary.median_ns),
        method=f"{own.method if own else 'too few samples for one'}; widened to the pace of "
        f"{len(later_paces)} later windows, Student's t",
        confidence=own.confidence if own else None,
        reason=own.reason if own else _too_few(summary.count),
    )
    width = interval.half_width / summary.median_ns
    unstable = summary.unstable
    if width >= target:
        slow, fast = max(later_paces) - 1, min(later_paces) - 1
        unstable += (
            f"unstable: {len(later_paces)} later windows of the same batches, unprofiled too, ran "
            f"at {fast:+.0%} to {slow:+.0%} of this time; the host's pace drifts, and the interval "
            "is widened to it.",
        )
    return replace(summary, interval=interval, relative_half_width=width, unstable=unstable)


def median_interval(samples: Sequence[float] | Floats) -> Interval | None:
    """Interval of the median of samples in the order taken; None below five samples.

    From 24 samples on it holds the median with 95 % though neighbours are alike; below, it is what
    independent samples would give, and its `confidence` is None.
    """
    taken = np.asarray(samples, dtype=np.float64)
    if len(taken) < _MIN_FOR_MEDIAN:
        return None
    low, high = _order_interval(np.sort(taken))
    if len(taken) < LEAST_FOR_COVERAGE:
        return Interval(
            low=low,
            high=high,
            method="order statistics, as if samples were independent",
            confidence=None,
            reason=_too_few(len(taken)),
        )
    factor = widening(taken)
    low, high = _stretched(low, float(np.median(taken)), high, factor)
    return Interval(
        low=low,
        high=high,
        method=f"order statistics, interpolated; widened {factor:.2f} times, as far as neighbours "
        "may be alike (first-order autoregression)",
    )


def _too_few(count: int) -> str:
    return (
        f"{count} batches are too few to see how alike neighbours are "
        f"(at least {LEAST_FOR_COVERAGE}); the range is as if they were independent"
    )


def _stretched(low: float, middle: float, high: float, factor: float) -> tuple[float, float]:
    """Ends `factor` times as far from the middle; by ratios where all are positive, as times are."""
    if low > 0:
        return middle * (low / middle) ** factor, middle * (high / middle) ** factor
    return middle - factor * (middle - low), middle + factor * (high - middle)


def _order_interval(values: Floats) -> tuple[float, float]:
    """95 % interval of the median of independent samples, sorted; the full range of five.

    With five samples even the full range holds the median only 93.75 % of the time.
    """
    n = len(values)
    depth, outer, inner = _order_depth(n)
    if outer < CONFIDENCE:
        return float(values[0]), float(values[-1])
    share = (outer - CONFIDENCE) / (outer - inner)
    weight = (n - depth) * share / (depth + (n - 2 * depth) * share)
    low = (1 - weight) * values[depth - 1] + weight * values[depth]
    high = (1 - weight) * values[n - depth] + weight * values[n - depth - 1]
    return float(low), float(high)


@lru_cache(maxsize=256)
def _order_depth(n: int) -> tuple[int, float, float]:
    """Depth d of the narrowest order interval with at least 95 %, its coverage and that of d + 1.

    The d-th smallest and d-th largest of n samples hold the median with
    1 - 2 P(Binomial(n, 1/2) <= d - 1).
    """
    depth, tail = 1, 1
    coverage = 1 - 2 * tail / 2**n
    while True:
        tail += comb(n, depth)
        deeper = 1 - 2 * tail / 2**n
        if deeper < CONFIDENCE or 2 * (depth + 1) > n:
            return depth, coverage, deeper
        depth, coverage = depth + 1, deeper


def quantile_interval(samples: Sequence[float] | Floats, quantile: float) -> Interval | None:
    """Interval of a quantile of independent samples with at least 95 %; None for too few.

    At most 2.5 % on each side: the number of samples below the quantile is Binomial(n, quantile).
    """
    values = np.sort(np.asarray(samples, dtype=np.float64))
    n = len(values)
    exact = [_binomial(n, k, quantile) for k in range(n + 1)]
    below = np.cumsum(exact)  # P(Binomial <= k)
    above = np.cumsum(exact[::-1])[::-1]  # P(Binomial >= k)
    lower = int((below <= (1 - CONFIDENCE) / 2).sum())
    uppers = np.flatnonzero(above <= (1 - CONFIDENCE) / 2)
    if lower < 1 or not len(uppers):
        return None
    upper = int(uppers[0])
    return Interval(
        low=float(values[lower - 1]),
        high=float(values[upper - 1]),
        method="order statistics of independent samples",
        confidence=float(1 - below[lower - 1] - above[upper]),
    )


def _binomial(n: int, k: int, chance: float) -> float:
    """P(Binomial(n, chance) = k), in logarithms because comb(n, k) outgrows a float near 1,030."""
    ways = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return exp(ways + k * log(chance) + (n - k) * log(1 - chance))


def mean_interval(samples: Sequence[float] | Floats, *, seed: int = 0) -> Interval | None:
    """95 % interval of the mean; None below two samples."""
    return ratio_interval(samples, np.ones(len(samples)), seed=seed)


def ratio_interval(
    numerators: Sequence[float] | Floats,
    denominators: Sequence[float] | Floats,
    *,
    seed: int = 0,
) -> Interval | None:
    """95 % interval of sum(numerators) / sum(denominators), the pairs being the sampled units.

    Joules over samples by window. The error of the ratio is that of the mean of its linear form
    (Cochran, Sampling Techniques, section 6.3). Counts of rare events, errors by answer say, scatter
    otherwise: `error_rate.error_rate_interval`. None below two pairs, or when the denominators sum
    to nothing.
    """
    top = np.asarray(numerators, dtype=np.float64)
    bottom = np.asarray(denominators, dtype=np.float64)
    n = len(top)
    if n < 2 or bottom.sum() <= 0:
        return None
    ratio = float(top.sum() / bottom.sum())
    # Centred on the ratio, a resample's sums differ by little: no cancellation of large squares.
    residual = (top - ratio * bottom) / bottom.mean()
    error = sqrt(float(residual @ residual) / (n * (n - 1)))
    if error <= 1e-12 * max(abs(ratio), 1e-300):
        return Interval(low=ratio, high=ratio, method="all samples agree")
    if n < _MIN_FOR_BOOTSTRAP:
        reach = t_975(n - 1) * error
        return Interval(low=ratio - reach, high=ratio + reach, method="Student's t")
    low_t, high_t = _studentised(residual, bottom / bottom.mean(), seed)
    return Interval(
        low=ratio - high_t * error,
        high=ratio - low_t * error,
        method=f"studentised bootstrap, {RESAMPLES:,} resamples, seed {seed}",
    )


def _studentised(residual: Floats, weight: Floats, seed: int) -> tuple[float, float]:
    """2.5th and 97.5th percentile of (resampled ratio - ratio) / its own error."""
    n = len(residual)
    columns = np.stack([residual, weight, residual**2, residual * weight, weight**2], axis=1)
    sums = _resampled_sums(columns, seed)
    r, w, rr, rw, ww = sums.T
    usable = w > 0
    r, w, rr, rw, ww = (part[usable] for part in (r, w, rr, rw, ww))
    shift = r / w
    squares = np.maximum(rr - 2 * shift * rw + shift**2 * ww, 0.0)
    error = np.sqrt(squares / (n * (n - 1))) * (n / w)
    # A resample made of one value repeated has no error of its own: it says nothing about t.
    usable = error > 1e-9 * np.median(error)
    low, high = np.percentile(shift[usable] / error[usable], [2.5, 97.5])
    return float(low), float(high)


def _resampled_sums(columns: Floats, seed: int) -> Floats:
    """Column sums of `RESAMPLES` resamples of the rows: (n, k) in, (RESAMPLES, k) out."""
    n = len(columns)
    if n * RESAMPLES <= _CACHED_CELLS:
        return _resample_counts(n, seed) @ columns
    generator = np.random.default_rng(seed)
    sums = [
        columns[generator.integers(0, n, n)].sum(axis=0, dtype=np.float64) for _ in range(RESAMPLES)
    ]
    return np.stack(sums)


@lru_cache(maxsize=4)
def _resample_counts(n: int, seed: int) -> Floats:
    """How often each of n samples is drawn in each resample: (RESAMPLES, n)."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)


def relative_half_width(samples: Sequence[float] | Floats) -> float | None:
    """Half width of the median's interval as a fraction of the median; None below five samples."""
    interval = median_interval(samples)
    middle = float(np.median(np.asarray(samples, dtype=np.float64))) if interval else 0.0
    return interval.half_width / middle if interval and middle > 0 else None


def enough(
    samples: Sequence[float], target: float = TARGET, *, minimum: int = LEAST_FOR_COVERAGE
) -> bool:
    """Whether at least `minimum` samples put the median's relative half width under `target`."""
    if len(samples) < minimum:
        return False
    width = relative_half_width(samples)
    return width is not None and width < target


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppingRule:
    """When to stop repeating a measurement, whichever comes first.

    A narrow interval ends it only where its coverage is known: from 24 samples on, widened as far as
    neighbours may be alike. Looking often and stopping at the first narrow interval stops too early
    by luck, hence looks at every `step` samples only. What luck remains, docs/method-latency.md has.
    """

    target: float = TARGET
    minimum: int = LEAST_FOR_COVERAGE
    step: int = 8
    limit_samples: int = 200
    limit_s: float = 120.0

    def reason_to_stop(self, samples_ns: Sequence[float], elapsed_s: float) -> str | None:
        """Why to stop now, in words, or None to go on."""
        n = len(samples_ns)
        if self.looks_at(n) and enough(samples_ns, self.target, minimum=self.minimum):
            width = relative_half_width(samples_ns) or 0.0
            return f"interval ±{width:.1%} is under ±{self.target:.0%} after {n} batches"
        if n >= self.limit_samples:
            return f"limit of {self.limit_samples} batches reached"
        if elapsed_s >= self.limit_s:
            return f"limit of {self.limit_s:g} s reached after {n} batches"
        return None

    def looks_at(self, count: int) -> bool:
        """Whether the interval is looked at after `count` samples."""
        return count >= self.minimum and count % self.step == 0


def instabilities(samples_ns: Sequence[int], target: float = TARGET) -> tuple[str, ...]:
    """What makes these samples, in the order they were taken, unsafe to quote; each in words."""
    values = np.asarray(samples_ns, dtype=np.float64)
    n = len(values)
    width = relative_half_width(values)
    if width is None:
        return (f"unstable: {n} samples are too few for an interval (at least {_MIN_FOR_MEDIAN}).",)
    found = []
    middle = float(np.median(values))
    if width >= target:
        found.append(
            f"unstable: the median's interval is ±{width:.1%} after {n} batches, wider than "
            f"±{target:.0%}; the host is noisy or its pace drifts, close other work or raise the "
            "number of batches."
        )
    slow = int((values > _OUTLIER_FACTOR * middle).sum())
    if slow:
        found.append(
            f"unstable: {slow} of {n} batches took more than {_OUTLIER_FACTOR:g} times the median "
            f"(the slowest {values.max() / middle:.1f} times)."
        )
    found.extend(_drift(values, middle, target))
    return tuple(found)


def _drift(values: Floats, middle: float, target: float) -> list[str]:
    """A slow change between the two halves, which no interval of independent samples shows."""
    half = len(values) // 2
    early, late = values[:half], values[-half:]
    if half < _MIN_FOR_MEDIAN:
        return []
    first, second = _order_interval(np.sort(early)), _order_interval(np.sort(late))
    change = (float(np.median(late)) - float(np.median(early))) / middle
    overlap = first[0] <= second[1] and second[0] <= first[1]
    if overlap or abs(change) < target / 2:
        return []
    word = "slower" if change > 0 else "faster"
    return [
        f"unstable: the second half of the batches is {abs(change):.1%} {word} than the first; "
        "clocks, heat or other work changed meanwhile."
    ]
