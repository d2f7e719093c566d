"""Statistics: hand-computed values, and coverage over 2,000 seeded trials for each one reported."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from layerscope.records.interval import Interval
from layerscope.stats.statistics import (
    LEAST_FOR_COVERAGE,
    StoppingRule,
    enough,
    instabilities,
    mean_interval,
    median_interval,
    quantile_interval,
    ratio_interval,
    relative_half_width,
    summarise,
    widened,
)

TRIALS = 2000
FLOOR = 0.93


def coverage(interval_of: Callable[[], Interval | None], truth: float) -> float:
    held = 0
    for _ in range(TRIALS):
        interval = interval_of()
        assert interval is not None
        held += interval.low <= truth <= interval.high
    return held / TRIALS


def test_summary_of_a_known_sample() -> None:
    summary = summarise([30, 10, 20, 50, 40], batch_size=4)
    assert (summary.count, summary.median_ns, summary.min_ns, summary.mean_ns) == (5, 30, 10, 30)
    # Sorted 10..50, four gaps of 10: p90 lies 3.6 gaps from the start, p99 3.96 gaps.
    assert summary.p90_ns == pytest.approx(46)
    assert summary.p99_ns == pytest.approx(49.6)
    assert summary.samples_per_s == pytest.approx(4 / 30e-9)
    # Five samples: their range, and no coverage is claimed for it.
    assert summary.interval is not None
    assert (summary.interval.low, summary.interval.high) == (10, 50)
    assert summary.interval.confidence is None
    assert "5 batches are too few" in (summary.interval.reason or "")
    assert summary.relative_half_width == pytest.approx(20 / 30)


def test_an_interval_widened_by_hand() -> None:
    summary = summarise([100] * 8, target=0.05)
    # Logarithms of the paces: 0, and three times ln 4: mean 1.5 ln 2, deviation ln 2, error ln 2 / 2,
    # t(3) = 3.182: from 100 * 2 ** (1.5 - 1.591) to 100 * 2 ** (1.5 + 1.591).
    found = widened(summary, [4.0, 4.0, 4.0])
    assert found.interval is not None
    assert found.interval.low == pytest.approx(100 * 2 ** (1.5 - 1.591), rel=1e-4)
    assert found.interval.high == pytest.approx(100 * 2 ** (1.5 + 1.591), rel=1e-4)
    assert "3 later windows" in found.interval.method
    assert found.median_ns == 100
    assert found.interval.confidence is None  # of eight samples nothing is claimed, widened or not
    assert any("+300% to +300%" in words for words in found.unstable)


def test_a_steady_host_widens_nothing_to_speak_of() -> None:
    summary = summarise([100, 101, 99, 100, 102, 98, 100, 101])
    assert widened(summary, [1.5, 1.5]) is summary  # two windows say too little of a spread
    found = widened(summary, [1.0, 1.001, 0.999])
    assert found.interval is not None
    assert summary.interval is not None
    assert found.interval.low == summary.interval.low
    assert found.interval.high == summary.interval.high
    assert found.unstable == summary.unstable


@given(st.lists(st.floats(0.2, 5.0), min_size=3, max_size=10))
def test_a_widened_interval_holds_the_old_one(paces: list[float]) -> None:
    summary = summarise([100, 101, 99, 100, 102, 98, 100, 101])
    found = widened(summary, paces).interval
    assert found is not None
    assert summary.interval is not None
    assert found.low <= summary.interval.low <= summary.median_ns <= summary.interval.high
    assert summary.interval.high <= found.high


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="no latency samples"):
        summarise([])


def test_too_few_samples_have_no_interval() -> None:
    assert median_interval([1, 2, 3, 4]) is None
    assert mean_interval([1.0]) is None
    assert ratio_interval([1, 2], [0, 0]) is None
    summary = summarise([1, 2, 3])
    assert summary.relative_half_width is None
    assert "too few" in summary.unstable[0]


def test_median_interval_by_hand_for_eight_samples() -> None:
    # Depth 1 covers 1 - 2/256 = 0.9921875, depth 2 covers 1 - 18/256 = 0.9296875.
    share = (0.9921875 - 0.95) / (0.9921875 - 0.9296875)
    weight = 7 * share / (1 + 6 * share)
    interval = median_interval([8, 7, 6, 5, 4, 3, 2, 1])
    assert interval is not None
    assert interval.low == pytest.approx(1 + weight)
    assert interval.high == pytest.approx(8 - weight)


def test_mean_interval_of_four_is_students_t_by_hand() -> None:
    # Mean 5, variance (9 + 1 + 1 + 9) / 3 = 20/3, error sqrt(20/12), t(3) = 3.182.
    interval = mean_interval([2.0, 4.0, 6.0, 8.0])
    assert interval is not None
    assert interval.half_width == pytest.approx(3.182 * (20 / 12) ** 0.5)
    assert interval.low + interval.half_width == pytest.approx(5)
    assert interval.method == "Student's t"


def test_equal_samples_have_an_interval_of_no_width() -> None:
    interval = mean_interval([2.5] * 20)
    assert interval is not None
    assert (interval.low, interval.high) == (2.5, 2.5)
    assert relative_half_width([7] * 8) == 0


def test_same_seed_same_interval_other_seed_other_interval() -> None:
    values = np.random.default_rng(3).normal(10, 1, 20)
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_large_samples_resample_without_the_cached_plan() -> None:
    values = np.random.default_rng(4).normal(10, 1, 3000)
    interval = mean_interval(values)
    assert interval is not None
    assert interval.half_width == pytest.approx(1.96 / 3000**0.5, rel=0.1)


@given(st.lists(st.integers(1, 10**12), min_size=5, max_size=60))
def test_the_interval_holds_the_median(samples: list[int]) -> None:
    interval = median_interval(samples)
    assert interval is not None
    slack = 1e-9 * max(samples)
    assert 0 < interval.low <= np.median(samples) + slack
    assert np.median(samples) - slack <= interval.high
    if len(samples) < LEAST_FOR_COVERAGE:
        assert interval.confidence is None
        assert min(samples) - slack <= interval.low
        assert interval.high <= max(samples) + slack
    else:
        assert interval.confidence == 0.95
        assert interval.reason is None


@pytest.mark.parametrize("n", [8, 12, 23])
@pytest.mark.parametrize("sigma", [0.05, 0.5])
def test_median_latency_coverage_of_independent_samples(n: int, sigma: float) -> None:
    generator = np.random.default_rng(n)
    held = coverage(lambda: median_interval(generator.lognormal(0, sigma, n)), truth=1.0)
    assert held >= FLOOR


def alike(generator: np.random.Generator, count: int, correlation: float) -> NDArray[np.float64]:
    """A stationary first-order autoregressive series of median 0 and variance 1."""
    noise = generator.standard_normal(count)
    series = np.empty(count)
    series[0] = noise[0]
    for i in range(1, count):
        series[i] = correlation * series[i - 1] + (1 - correlation**2) ** 0.5 * noise[i]
    return series


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.7])
@pytest.mark.parametrize("n", [24, 48])
def test_median_latency_coverage_when_neighbours_are_alike(correlation: float, n: int) -> None:
    """300 trials; benchmarks/coverage.py has 2,000 of each and more lengths."""
    generator = np.random.default_rng([n, round(10 * correlation)])
    held, widths = 0, []
    for _ in range(300):
        samples = np.exp(0.05 * alike(generator, n, correlation))
        interval = median_interval(samples)
        assert interval is not None
        held += interval.low <= 1.0 <= interval.high
        widths.append(interval.half_width)
    assert held / 300 >= 0.92
    if not correlation:  # what independent batches pay: 2.06 sigma / sqrt(n) and half of that more
        assert float(np.mean(widths)) < 1.7 * 1.25 * 2.06 * 0.05 / n**0.5


def test_latency_coverage_on_a_host_that_drifts() -> None:
    """Windows whose paces differ by 20 %, batches within one by 3 %, as seen on a shared host."""
    generator = np.random.default_rng(8)

    def one(later: int) -> Interval | None:
        paces = generator.lognormal(0, 0.2, 1 + later)
        batches = [generator.lognormal(0, 0.03, 16 if i == 0 else 4) for i in range(1 + later)]
        summary = summarise([round(1e9 * paces[0] * batch) for batch in batches[0]])
        found = [
            float(np.median(pace * batch)) * 1e9 / summary.median_ns
            for pace, batch in zip(paces[1:], batches[1:], strict=True)
        ]
        return widened(summary, found).interval

    assert coverage(lambda: one(5), truth=1e9) >= FLOOR
    assert coverage(lambda: one(0), truth=1e9) < 0.2  # what a single window promises and breaks


@pytest.mark.parametrize("n", [3, 5, 10, 20])
def test_mean_energy_coverage(n: int) -> None:
    generator = np.random.default_rng(n)
    held = coverage(lambda: mean_interval(generator.normal(10.3, 0.4, n)), truth=10.3)
    assert held >= FLOOR


@pytest.mark.parametrize(("quantile", "first"), [(0.5, 6), (0.9, 36), (0.99, 368)])
def test_a_percentile_has_an_interval_from_the_first_count_that_allows_one(
    quantile: float, first: int
) -> None:
    # The largest of n lies below the percentile with quantile**n: 0.9**36 = 2.25 % <= 2.5 %.
    assert quantile**first <= 0.025 < quantile ** (first - 1)
    assert quantile_interval(range(first - 1), quantile) is None
    interval = quantile_interval(range(first), quantile)
    assert interval is not None
    assert interval.high == first - 1
    assert interval.confidence >= 0.95


def test_percentiles_of_thousands_of_samples() -> None:
    interval = quantile_interval(range(5000), 0.9)
    assert interval is not None
    # 4,500 samples lie below, give or take 1.96 * sqrt(5000 * 0.9 * 0.1) = 41.6.
    assert interval.low == pytest.approx(4500 - 41.6, abs=2)
    assert interval.high == pytest.approx(4500 + 41.6, abs=2)


def test_p90_coverage() -> None:
    generator = np.random.default_rng(90)
    truth = float(np.exp(0.3 * 1.2815515655))
    held = coverage(lambda: quantile_interval(generator.lognormal(0, 0.3, 64), 0.9), truth)
    assert held >= 0.95


@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_coverage_after_the_stopping_rule(correlation: float) -> None:
    generator = np.random.default_rng(7)
    rule = StoppingRule()
    held, trials = 0, 150
    for _ in range(trials):
        samples = np.exp(0.04 * alike(generator, rule.limit_samples, correlation)).tolist()
        taken = rule.minimum
        while rule.reason_to_stop(samples[:taken], 0.0) is None:
            taken += rule.step
        interval = median_interval(samples[:taken])
        assert interval is not None
        held += interval.low <= 1.0 <= interval.high
    assert held / trials >= 0.9


def test_a_few_alike_batches_do_not_end_the_measurement() -> None:
    """Three levels of eight equal batches: independent, they would be ±4 % after 24."""
    steps = [100 + step + 0.1 * (i % 3) for step in (0, 6, 2) for i in range(8)]
    shuffled = np.random.default_rng(1).permutation(steps).tolist()
    assert enough(shuffled)
    assert not enough(steps)


def test_enough_needs_the_minimum_and_the_target() -> None:
    assert not enough([100] * 23)
    assert enough([100] * 24)
    assert not enough([50, 150] * 12)
    assert enough([50, 150] * 12, target=0.99)


def test_stopping_says_which_limit_it_met() -> None:
    rule = StoppingRule(limit_samples=40, limit_s=10)
    assert rule.reason_to_stop([100] * 23, 0.0) is None
    assert rule.reason_to_stop([100] * 25, 0.0) is None  # not a moment to look at
    assert "under ±5%" in (rule.reason_to_stop([100] * 24, 0.0) or "")
    assert "40 batches" in (rule.reason_to_stop([50, 150] * 20, 0.0) or "")
    assert "10 s" in (rule.reason_to_stop([50, 150], 10.0) or "")


def test_a_quiet_host_is_not_called_unstable() -> None:
    generator = np.random.default_rng(0)
    samples = [int(value) for value in generator.normal(1e9, 1e7, 24)]
    assert instabilities(samples) == ()


def test_noise_outliers_and_drift_each_have_their_words() -> None:
    assert any("host is noisy" in word for word in instabilities([50, 150] * 8))
    slow = instabilities([100, 101, 99, 100, 102, 98, 100, 300, 100, 101, 99, 100])
    assert len(slow) == 1
    assert "1 of 12 batches took more than 1.5 times" in slow[0]
    drift = instabilities([100, 101, 100, 101, 100, 101, 104, 105, 104, 105, 104, 105])
    assert len(drift) == 1
    assert "slower" in drift[0]
