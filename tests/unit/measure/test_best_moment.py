"""The best moment of threads side by side, by hand, and with a planted thief of time slices."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerscope.measure.best_moment import Burst, best_apart, best_moment, moments_together
from layerscope.measure.ceilings_cpu import side_by_side


def test_rates_are_added_where_bursts_overlap() -> None:
    # 10 units in 10 ns beside 10 in 5 ns: 1 + 2 a nanosecond; alone they reach 1 and 2.
    assert best_moment([[Burst(0, 10)], [Burst(4, 9)]], 10.0) == pytest.approx(3.0)


def test_rates_that_were_not_reached_together_are_not_added() -> None:
    assert best_moment([[Burst(0, 10)], [Burst(10, 15)]], 10.0) == pytest.approx(2.0)


def test_a_thread_that_waited_counts_with_the_little_it_got_done() -> None:
    # While the first does 10 in 10 ns, the second needs 100 for as much.
    assert best_moment([[Burst(20, 30)], [Burst(0, 100)]], 10.0) == pytest.approx(1.1)


def test_moments_at_which_all_threads_ran_undisturbed() -> None:
    a = [Burst(0, 10), Burst(10, 20, undisturbed=False), Burst(20, 30)]
    b = [Burst(5, 15), Burst(15, 25)]
    assert moments_together([a, b]) == 2  # from 5 (both within one), and from 20
    assert moments_together([a, [Burst(10, 20)]]) == 0
    assert moments_together([a]) == 2
    assert moments_together([[], a]) == 0


def test_no_bursts_and_bursts_without_length() -> None:
    assert best_moment([], 1.0) == 0.0
    assert best_moment([[], [Burst(5, 5)]], 1.0) == 0.0


@given(st.lists(st.lists(st.integers(1, 50), max_size=20), max_size=4))
def test_never_above_the_sum_of_the_threads_best_nor_below_the_best_thread(
    lengths: list[list[int]],
) -> None:
    threads = []
    for own in lengths:
        at, bursts = 0, []
        for length in own:
            bursts.append(Burst(at, at + length))
            at += length
        threads.append(bursts)
    best = [max((1 / length for length in own), default=0.0) for own in lengths]
    found = best_moment(threads, 1.0)
    assert best_apart(threads, 1.0) == pytest.approx(sum(best))
    assert max(best, default=0.0) - 1e-9 <= found <= sum(best) + 1e-9


def scheduled(rng: random.Random, burst_ns: int, slice_ns: int, taken: float) -> list[Burst]:
    """One thread's bursts where another process takes this share of the time slices of its core."""
    bursts, at, ran, start = [], 0, 0, 0
    while at < 400_000_000:
        if rng.random() < taken:
            at += slice_ns  # descheduled: the burst under way grows by it
            continue
        left = slice_ns
        while left:
            step = min(left, burst_ns - ran)
            at, ran, left = at + step, ran + step, left - step
            if ran == burst_ns:
                bursts.append(Burst(start, at))
                start, ran = at, 0
    return bursts


@pytest.mark.parametrize("taken", [0.0, 0.5])
def test_a_busy_core_costs_moments_and_not_the_rate(taken: float) -> None:
    """Bursts of 0.5 ms, slices of 3 ms, half of one core's taken: the two threads' full rate is seen,
    while the mean rate of the disturbed thread is half."""
    rng = random.Random(0)
    burst = 500_000
    threads = [scheduled(rng, burst, 3_000_000, 0.0), scheduled(rng, burst, 3_000_000, taken)]
    assert best_moment(threads, burst) == pytest.approx(2.0, rel=0.01)
    if taken:
        assert len(threads[1]) < 0.65 * len(threads[0])


def test_threads_really_work_side_by_side_and_pause_together() -> None:
    def make():  # type: ignore[no-untyped-def]
        a = torch.ones(32, 32)
        return lambda: a @ a

    for off_s in (0.0, 0.005):
        found = side_by_side(make, 2, 0.03, off_s)
        assert len(found) == 2
        for bursts in found:
            assert bursts
            assert all(a.end_ns <= b.start_ns for a, b in pairwise(bursts))


def test_an_error_in_a_thread_is_the_callers() -> None:
    def make():  # type: ignore[no-untyped-def]
        raise ValueError("no memory")

    with pytest.raises(ValueError, match="no memory"):
        side_by_side(make, 2, 0.01)
