"""Device time between two runs: error rates over seeded pairs, by hand, and on real equal runs."""

from __future__ import annotations

from itertools import combinations
from math import log
from pathlib import Path

import numpy as np
import pytest

from layerscope.differences import Subject, compare
from layerscope.differences.device_noise import effect_of_device
from layerscope.records.comparison import MetricChange
from layerscope.runs.run import Run
from layerscope.stats.student import t_975, t_quantile

# Device time of equal runs, us: one line a card, a batch size and a version, as committed.
EQUAL_RUNS = {
    "H200, batch 16": (210_708.557, 210_982.025, 211_231.931, 211_815.385, 211_719.0, 210_096.345),
    "H100, batch 16": (193_540.957, 193_783.698, 194_214.0),
    "H200, batch 1": (82_162.881, 82_273.868, 82_245.503, 82_082.0),
    "H200, batch 16, 5.24": (182_326.673, 182_237.139, 182_235.207),
}
PAIRS = 1000


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 63.657), (4, 4.604), (10, 3.169), (1000, 2.581)]
)
def test_quantiles_of_student_s_t(freedom: int, expected: float) -> None:
    """99.5th percentiles as tables have them."""
    assert t_quantile(0.995, freedom) == pytest.approx(expected, abs=6e-4)
    assert t_quantile(0.975, freedom) == pytest.approx(t_975(freedom), abs=2e-3)


def test_single_traces_by_hand() -> None:
    """z = 2.576, times sqrt(2 x (0.4^2 + 0.3^2)) % = 1.821 %: 1.8 % is no difference, 1.9 % is one."""
    base = [1_000_000]
    assert effect_of_device(base, [1_018_000]).shown is False  # type: ignore[union-attr]
    found = effect_of_device(base, [1_019_000])
    assert found is not None
    assert found.shown
    assert log(1 + found.noise_floor) == pytest.approx(2.5758 * 2**0.5 * 0.005, rel=1e-4)


def test_traces_that_scatter_raise_the_floor() -> None:
    quiet = effect_of_device([1000, 1001, 999], [1000, 1001, 999])
    loud = effect_of_device([1000, 1100, 900], [1000, 1100, 900])
    assert quiet is not None
    assert loud is not None
    # s = 0.1 in logarithms: 4.604 x 0.1 x sqrt(2 / 3) = 0.376, beside which the rest is nothing.
    assert log(1 + loud.noise_floor) == pytest.approx(0.377, abs=0.003)
    assert quiet.noise_floor < 0.017


def test_nothing_is_judged_of_nothing() -> None:
    assert effect_of_device([], [1]) is None
    assert effect_of_device([1], [0]) is None


@pytest.mark.parametrize("traces", [1, 3])
@pytest.mark.parametrize("within", [0.0005, 0.002, 0.005])
@pytest.mark.parametrize("alike", [0.0, 0.7])
def test_error_rates(traces: int, within: float, alike: float) -> None:
    """Runs that differ by 0.3 % (one sigma), traces within one by `within`, neighbours `alike`."""
    random = np.random.default_rng(20261128)
    alarms = seen = 0
    for _ in range(PAIRS):
        base, other = (_run(random, traces, within, alike) for _ in range(2))
        alarms += _shown(base, other)
        seen += _shown(base, [round(1.03 * value) for value in other])
    assert alarms <= 0.05 * PAIRS
    if within <= 0.002:
        assert seen >= 0.9 * PAIRS


def _run(random: np.random.Generator, traces: int, within: float, alike: float) -> list[int]:
    level, noise = random.normal(0, 0.003), random.normal(0, within)
    found = []
    for _ in range(traces):
        found.append(round(2e8 * np.exp(level + noise)))
        noise = alike * noise + (1 - alike**2) ** 0.5 * random.normal(0, within)
    return found


def _shown(base: list[int], other: list[int]) -> bool:
    found = effect_of_device(base, other)
    assert found is not None
    return found.shown


def test_equal_runs_that_were_committed() -> None:
    """No two of them are told apart; 3 % more in one of each pair is seen in nine of ten."""
    alarms = seen = pairs = 0
    for runs in EQUAL_RUNS.values():
        for one, two in combinations([[round(1000 * us)] for us in runs], 2):
            for base, other in ((one, two), (two, one)):
                pairs += 1
                alarms += _shown(base, other)
                seen += _shown(base, [round(1.03 * other[0])])
    assert (pairs, alarms) == (54, 0)
    assert seen >= 0.9 * pairs


def device_change(base: Subject, other: Subject) -> MetricChange:
    found = compare(base, other).metric("device")
    assert found is not None
    return found


H200 = Path(__file__).parents[3] / "docs" / "results" / "h200"


def a_run(name: str, *traced_ns: int) -> Subject:
    run = Run.open(H200 / name)
    return Subject(name=name, record=run.written, table=run.account.table, traced_ns=traced_ns)


def test_tf32_against_eager_on_an_h200_is_a_difference_shown() -> None:
    """One trace a side, as those runs have them: -25.7 %."""
    found = device_change(a_run("xl-b16-eager"), a_run("xl-b16-fp32-matmul-high"))
    assert found.shown
    assert found.verdict.startswith("less device time by 26 %")
    assert found.relative == pytest.approx(-0.257, abs=0.001)
    assert "1 and 1 traces of the batch" in found.basis
    same = device_change(a_run("xl-b16-eager"), a_run("xl-b16-eager"))
    assert not same.shown


def test_traces_of_a_run_stand_behind_its_device_time() -> None:
    """Medians of 200 and 206 ms: 3 % more, shown where traces agree and not where they scatter."""
    ms = 1_000_000
    quiet = [
        a_run("xl-b16-eager", *(round(t * ms) for t in side))
        for side in ((200.0, 199.9, 200.1), (206.0, 205.9, 206.1))
    ]
    found = device_change(*quiet)
    assert found.shown
    assert found.relative == pytest.approx(0.03)
    assert "3 and 3 traces" in found.basis
    loud = [
        a_run("xl-b16-eager", *(round(t * ms) for t in side))
        for side in ((200.0, 190.0, 210.0), (206.0, 196.0, 216.0))
    ]
    assert not device_change(*loud).shown
