"""Intervals of error rates: exact values, limits by hand, and coverage in a cheap subset of worlds.

benchmarks/coverage.py has 2,000 trials of every world; its tables lie in docs/results/statistics.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.records.interval import Interval
from layerscope.stats.beta import beta_below, beta_quantile
from layerscope.stats.error_rate import error_rate_interval, score_interval

TRIALS = 200


def ends(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    assert interval.confidence == 0.95
    return interval.low, interval.high


def one_word(wrong: int, of: int) -> tuple[float, float]:
    return ends(error_rate_interval([1] * wrong + [0] * (of - wrong), [1] * of))


def test_one_word_answers_have_clopper_and_pearsons_interval() -> None:
    # P(0 of n) = (1 - p)^n = 0.025 at the upper end, P(n of n) = p^n at the lower.
    assert one_word(0, 64) == pytest.approx((0, 1 - 0.025 ** (1 / 64)))
    assert one_word(8, 8) == pytest.approx((0.025 ** (1 / 8), 1))
    # Published: 2 of 32.
    assert one_word(2, 32) == pytest.approx((0.00766, 0.20807), abs=1e-5)
    # The ends are where the tails of the binomial hold 2.5 %: sums by hand for 1 of 3.
    low, high = one_word(1, 3)
    assert 1 - (1 - low) ** 3 == pytest.approx(0.025)
    assert (1 - high) ** 3 + 3 * high * (1 - high) ** 2 == pytest.approx(0.025)


def test_whole_answers_wrong_are_worth_one_sample_each() -> None:
    whole = ends(error_rate_interval([5, 5] + [0] * 30, [5] * 32))
    assert whole == pytest.approx(one_word(2, 32))
    assert ends(error_rate_interval([0] * 32, [5] * 32)) == pytest.approx(one_word(0, 32))


def test_single_words_wrong_are_worth_nearly_a_sample_each() -> None:
    low, high = ends(error_rate_interval([1] * 40 + [0] * 60, [5] * 100))
    exact_low, exact_high = one_word(40, 500)
    assert low <= exact_low
    assert exact_high <= high
    assert high - low < 1.25 * (exact_high - exact_low)


def test_insertions_have_no_upper_bound_of_one() -> None:
    low, high = ends(error_rate_interval([7, 2], [1, 1]))
    assert 0 < low < 4.5 < high
    assert high > 7
    # One insertion in 64 words, otherwise right: Poisson, not bounded, of about one event.
    low, high = ends(error_rate_interval([2] + [0] * 63, [1] * 64))
    assert 0 < low < 2 / 64 < 5.57 / 64 < high
    assert ends(error_rate_interval([3, 0], [0, 4]))[1] > 1  # words to an empty reference


def test_what_has_no_interval() -> None:
    assert error_rate_interval([1], [2]) is None
    assert error_rate_interval([], []) is None
    assert error_rate_interval([1, 2], [0, 0]) is None
    assert error_rate_interval([0, 1], [0, 2]) is None  # an empty answer to an empty reference
    with pytest.raises(ValueError, match="negative"):
        error_rate_interval([-1, 1], [1, 1])
    with pytest.raises(ValueError, match="same answers"):
        error_rate_interval([1], [1, 1])


def test_scores_between_right_and_wrong() -> None:
    assert ends(score_interval([1] * 30 + [0] * 2)) == pytest.approx(
        tuple(1 - end for end in reversed(one_word(2, 32)))
    )
    low, high = ends(score_interval([0.3, 0.6, 0.9, 1.0]))
    assert 0 < low < 0.7 < high < 1
    assert score_interval([1.0]) is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        score_interval([1.5, 0])


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=40),
)
def test_the_interval_holds_the_rate_and_is_finite(pairs: list[tuple[int, int]]) -> None:
    errors, words = [e for e, _ in pairs], [w for _, w in pairs]
    interval = error_rate_interval(errors, words)
    if interval is None:
        return
    rate = sum(errors) / sum(words)
    assert 0 <= interval.low <= rate + 1e-9
    assert rate - 1e-9 <= interval.high < float("inf")
    if all(e <= w for e, w in pairs):
        assert interval.high <= 1


@given(st.floats(0.05, 500), st.floats(1, 1e6), st.sampled_from([0.025, 0.975]))
def test_a_beta_quantile_has_its_share_below(a: float, b: float, share: float) -> None:
    assert beta_below(beta_quantile(share, a, b), a, b) == pytest.approx(share, abs=1e-7)


@pytest.mark.parametrize("answers", [8, 32, 128])
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("most", [1, 5, 12])
@pytest.mark.parametrize("whole", [False, True])
def test_coverage(answers: int, rate: float, most: int, whole: bool) -> None:
    generator = np.random.default_rng([answers, round(1000 * rate), most, whole])
    held = 0
    for _ in range(TRIALS):
        words = generator.integers(1 if most == 12 else most, most + 1, answers)
        if whole:
            errors = words * (generator.random(answers) < rate)
        else:
            errors = generator.binomial(words, rate)
        low, high = ends(error_rate_interval(errors, words))
        held += low <= rate <= high
    assert held / TRIALS >= 0.91  # 2,000 trials: at least 0.92 in each cell


@pytest.mark.parametrize("most", [1, 5])
def test_coverage_with_insertions_beyond_a_rate_of_one(most: int) -> None:
    """Half of the answers ramble on, by 12 words on average: what no answer has too few of."""
    generator = np.random.default_rng(most)
    truth = 0.5 + 0.5 * 12 / most
    held = 0
    for _ in range(TRIALS):
        words = np.full(64, most)
        rambled = (generator.random(64) < 0.5) * generator.geometric(1 / 12, 64)
        low, high = ends(error_rate_interval(generator.binomial(words, 0.5) + rambled, words))
        held += low <= truth <= high
    assert held / TRIALS >= 0.92
