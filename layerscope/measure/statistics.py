"""Statistics of raw samples: in go samples, out come their summary, its interval and a verdict.

Intervals are 95 %, two-sided, by the method that keeps its coverage at small n:

* median: order statistics of the sample, interpolated to 95 % (Hettmansperger and Sheather 1986).
  It needs no resampling and assumes no distribution. The percentile bootstrap of a median tends to
  the same order statistics, but falls short of 95 % at small n.
* mean, ratio of sums: studentised bootstrap (Efron and Tibshirani 1993, section 12.5), seeded;
  below eight samples, where resamples repeat too few values, Student's t on the same error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import comb, exp, lgamma, log, sqrt

import numpy as np
from numpy.typing import NDArray

from layerscope.records.interval import Interval

CONFIDENCE = 0.95
RESAMPLES = 2000
TARGET = 0.05

# Two points of the sample bracket the median with 93.75 % at best from five samples, less below.
_MIN_FOR_MEDIAN = 5
_MIN_FOR_BOOTSTRAP = 8
_MIN_FOR_DRIFT = 3
_CACHED_CELLS = 1 << 21
_OUTLIER_FACTOR = 1.5

# Student's t, 97.5th percentile, for 1 to 30 degrees of freedom.
_T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class LatencySummary:
    """The statistics of one set of latencies, in nanoseconds.

    Percentiles interpolate linearly between the sorted samples, so with fewer than 100 samples
    `p99_ns` lies between the two largest.

    Attributes:
        interval: of the median; None below five samples.
        p90_interval: None below 36 samples, and `p99_interval` below 368: fewer cannot lie on both
            sides of the percentile with 95 %.
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
    """Summarise the latencies of equal batches, warm-ups and partial batches already left out.

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
        interval=median_interval(values),
        p90_interval=quantile_interval(values, 0.90),
        p99_interval=quantile_interval(values, 0.99),
        relative_half_width=relative_half_width(values),
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
        confidence=CONFIDENCE,
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
    """95 % interval of the median from order statistics; None below five samples.

    With five samples even the full range holds the median only 93.75 % of the time; that is the
    interval then, and its `confidence` says so.
    """
    values = np.sort(np.asarray(samples, dtype=np.float64))
    n = len(values)
    if n < _MIN_FOR_MEDIAN:
        return None
    depth, outer, inner = _order_depth(n)
    if outer < CONFIDENCE:
        return Interval(
            low=float(values[0]),
            high=float(values[-1]),
            method="order statistics, full range",
            confidence=outer,
        )
    share = (outer - CONFIDENCE) / (outer - inner)
    weight = (n - depth) * share / (depth + (n - 2 * depth) * share)
    low = (1 - weight) * values[depth - 1] + weight * values[depth]
    high = (1 - weight) * values[n - depth] + weight * values[n - depth - 1]
    return Interval(low=float(low), high=float(high), method="order statistics, interpolated")


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
    """Interval of a quantile with at least 95 %, from order statistics; None for too few samples.

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
        method="order statistics",
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

    Errors over words by sample, joules over samples by window. The error of the ratio is that of
    the mean of its linear form (Cochran, Sampling Techniques, section 6.3). None below two pairs,
    or when the denominators sum to nothing.
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


def t_975(freedom: int) -> float:
    """97.5th percentile of Student's t; above 30 degrees the first two terms past the normal."""
    if freedom <= len(_T_975):
        return _T_975[freedom - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom)


def relative_half_width(samples: Sequence[float] | Floats) -> float | None:
    """Half width of the median's interval as a fraction of the median; None below five samples."""
    interval = median_interval(samples)
    middle = float(np.median(np.asarray(samples, dtype=np.float64))) if interval else 0.0
    return interval.half_width / middle if interval and middle > 0 else None


def enough(samples: Sequence[float], target: float = TARGET, *, minimum: int = 8) -> bool:
    """Whether at least `minimum` samples put the median's relative half width under `target`."""
    if len(samples) < minimum:
        return False
    width = relative_half_width(samples)
    return width is not None and width < target


@dataclass(frozen=True, kw_only=True, slots=True)
class StoppingRule:
    """When to stop repeating a measurement, whichever comes first.

    Looking often and stopping at the first narrow interval stops too early by luck. Hence `minimum`
    samples first, and looks only as `looks_at` says. What luck remains: of 2,000 simulated runs that
    stopped by this rule, 92 to 95 % held the true median in their 95 % interval.
    """

    target: float = TARGET
    minimum: int = 8
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
        """Whether the interval is looked at after `count` samples: every `minimum` of them."""
        return count >= self.minimum and count % self.minimum == 0


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
            f"±{target:.0%}; the host is noisy, close other work or raise the number of batches."
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
    first, second = median_interval(early), median_interval(late)
    change = (float(np.median(late)) - float(np.median(early))) / middle if half else 0.0
    if not first or not second or first.overlaps(second) or abs(change) < target / 2:
        return []
    word = "slower" if change > 0 else "faster"
    return [
        f"unstable: the second half of the batches is {abs(change):.1%} {word} than the first; "
        "clocks, heat or other work changed meanwhile."
    ]
