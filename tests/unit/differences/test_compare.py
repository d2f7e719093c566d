"""Noise, environments, conditions: hand arithmetic, and 200 pairs of runs that are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from layerscope.core.errors import UsageError
from layerscope.differences import Subject, compare, judge, parse_condition
from layerscope.differences.environment import differences, unlike_environments
from layerscope.differences.noise import effect_of, effect_of_logs, paired_logs
from layerscope.records import (
    BatchRecord,
    LatencySample,
    Prediction,
    Quality,
    RunConfig,
    RunRecord,
    load,
)
from layerscope.records.comparison import METRICS, MetricChange
from layerscope.records.energy_record import (
    CounterEdge,
    CounterWindow,
    EnergyBatch,
    EnergyRecord,
    EnergyWindow,
)
from layerscope.scores.wer import score
from layerscope.stats.statistics import StoppingRule

SAMPLE = Path(__file__).resolve().parents[3] / "traces" / "sample-tiny-b2"
Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int], Floats]


def timed(seconds: list[float], *, batches: int = 1) -> tuple[LatencySample, ...]:
    return tuple(
        LatencySample(
            batch=index % batches,
            size=2,
            warmup=False,
            full=True,
            generate_ns=round(value * 1e9),
            preprocess_ns=None,
            copy_ns=1,
            decoder_steps=4,
            new_tokens=(4, 4),
            repeat=index // batches,
        )
        for index, value in enumerate(seconds)
    )


def windows(joules: list[float]) -> EnergyRecord:
    """Windows of 2 s whose batch fills them: the counter's steps are the work's joules."""
    found, at, counted = [], 0, 0.0
    for value in joules:
        edges = [
            CounterEdge(time_ns=at + offset, late_ns=0, joules=counted + part)
            for offset, part in ((0, 0.0), (2 * 10**9, value), (2 * 10**9 + 1, value))
        ]
        after = CounterEdge(time_ns=at + 3 * 10**9, late_ns=0, joules=counted + value)
        counter = CounterWindow(
            counter="gpu", start=edges[0], landed=edges[1], end=edges[2], after=after
        )
        batch = EnergyBatch(
            batch=0, start_ns=at, end_ns=at + 2 * 10**9 + 1, samples=1, new_tokens=4
        )
        found.append(EnergyWindow(counters=(counter,), batches=(batch,)))
        at, counted = at + 4 * 10**9, counted + value
    return EnergyRecord(sources=("a counter",), windows=tuple(found))


@pytest.fixture(scope="module")
def record() -> RunRecord:
    """The sample run as if its answers had not been scored."""
    nothing = Quality(samples=4, normalisation="none", reason="the weights are random")
    return replace(load(SAMPLE), quality=nothing)


def run_of(
    record: RunRecord,
    seconds: list[float],
    first_token: list[float] | None = None,
    joules: list[float] | None = None,
    batches: int = 1,
) -> RunRecord:
    held = tuple(
        BatchRecord(
            index=index,
            sample_ids=(f"{index}-a", f"{index}-b"),
            pixel_values_shape=(2, 3, 224, 224),
            text_lengths=(9, 9),
            padded_text_length=9,
            qformer_lengths=(9, 9),
            padded_qformer_length=9,
        )
        for index in range(batches)
    )
    return replace(
        record,
        workload=replace(record.workload, batches=held),
        latency=timed(seconds, batches=batches),
        first_token=timed(first_token or [], batches=1),
        energy=windows(joules) if joules else None,
    )


def metric(base: RunRecord, other: RunRecord, name: str) -> MetricChange:
    found = compare(Subject(name="base", record=base), Subject(name="other", record=other))
    return next(item for item in found.metrics if item.metric == name)


# ---- hand arithmetic


def test_constant_runs_differ_by_their_ratio(record: RunRecord) -> None:
    base, other = run_of(record, [1.0] * 8), run_of(record, [0.88] * 8)
    found = metric(base, other, "latency")
    assert found.relative == pytest.approx(-0.12)
    assert found.noise_floor == 0.03
    assert found.shown
    assert found.verdict == "faster by 12 % [12, 12]"
    back = metric(other, base, "latency")
    assert back.verdict == "slower by 14 % [14, 14]"


def test_a_small_change_of_quiet_runs_is_within_the_floor(record: RunRecord) -> None:
    found = metric(run_of(record, [1.0] * 8), run_of(record, [1.02] * 8), "latency")
    assert found.interval is not None
    assert found.interval.low > 0
    assert not found.shown
    assert found.verdict == "no difference shown: +2.0 % is within the noise floor of ±3.0 %"


def test_the_floor_is_the_spread_of_the_stretches() -> None:
    # Four stretches of two equal samples; their logs' medians are 0, 0.01, 0, -0.01 in a mixed
    # order: standard deviation sqrt(2e-4 / 3). The other run is quiet.
    logs = np.array([0.0, 0.0, 0.01, 0.01, 0.0, 0.0, -0.01, -0.01])
    quiet = np.zeros(8)
    spread = (2e-4 / 3) ** 0.5
    # von Neumann: 4 steps' squares sum to 3e-4; around the mean 4e-4 * 7 / 8.
    alike = 1 - 3e-4 / (2 * 4e-4 * 7 / 8)
    growth = ((1 + alike) / (1 - alike)) ** 0.5
    assert growth < 2
    found = effect_of_logs(logs, quiet + 0.5)
    assert found.noise_floor == pytest.approx(np.expm1(3.707 * spread * growth))


def test_samples_are_compared_batch_by_batch(record: RunRecord) -> None:
    # Four batches that take 1, 2, 3 and 4 s; the other run is 10 % faster in each.
    times = [1.0, 2.0, 3.0, 4.0] * 3
    base = run_of(record, times, batches=4)
    other = run_of(record, [0.9 * t for t in times], batches=4)
    found = metric(base, other, "latency")
    assert found.relative == pytest.approx(-0.1)
    assert found.shown
    assert "batch by batch" in found.basis
    elsewhere = replace(
        other, workload=replace(other.workload, dataset="another"), config=other.config
    )
    assert not metric(base, elsewhere, "latency").shown


def test_paired_logs_keep_the_difference_and_widen_the_rest() -> None:
    base = [(0, 1.0), (1, np.e), (0, np.e**0.2), (1, np.e**1.0)]
    other = [(number, value * np.e**0.3) for number, value in base]
    one, two = paired_logs(base, other)
    assert np.allclose(two - one, 0.3)
    # N = 8, B = 2: distances from the median grow by sqrt(8 / 6).
    plain = np.array([0.0, 1.0, 0.2, 1.0]) - np.array([0.1 - 0.55, 1 - 0.55] * 2)
    widened = np.median(plain) + (8 / 6) ** 0.5 * (plain - np.median(plain))
    assert np.allclose(one, widened)
    with pytest.raises(ValueError, match="same batches"):
        paired_logs(base, [(2, 1.0)])


def test_too_few_samples_are_not_judged(record: RunRecord) -> None:
    assert effect_of([1.0] * 4, [2.0] * 9) is None
    assert effect_of([0.0] * 9, [2.0] * 9) is None
    found = metric(run_of(record, [1.0] * 4), run_of(record, [2.0] * 9), "latency")
    assert (found.shown, found.verdict) == (False, "not judged")
    assert found.absent == "4 and 9 samples, an interval needs at least 5 a side"
    assert found.relative == 1.0


def test_energy_by_window_and_the_reason_where_a_side_has_none(record: RunRecord) -> None:
    base = run_of(record, [1.0] * 8, joules=[10.0, 10.1, 9.9, 10.0, 10.0])
    other = run_of(record, [1.0] * 8, joules=[7.6, 7.5, 7.7, 7.6, 7.6])
    found = metric(base, other, "energy")
    assert found.relative == pytest.approx(-0.24)
    assert found.verdict.startswith("less energy by 24 % [")
    without = metric(base, replace(other, energy=None), "energy")
    assert without.absent == "OTHER: no energy was measured"
    assert without.base == pytest.approx(10.0)
    assert without.other is None


def test_flops_are_a_count(record: RunRecord) -> None:
    flops = record.report.flops
    assert flops.value is not None
    same = metric(record, record, "flops")
    assert (same.shown, same.verdict, same.interval) == (False, "unchanged", None)
    more = replace(
        record, report=replace(record.report, flops=replace(flops, value=flops.value * 2))
    )
    found = metric(record, more, "flops")
    assert found.shown
    assert found.verdict == "more FLOPs by 100 % (a count: exact)"


def answered(record: RunRecord, answers: list[str], ids: str = "s") -> RunRecord:
    predictions = tuple(
        Prediction(
            sample_id=f"{ids}{index}",
            batch=0,
            prompt="?",
            prediction=answer,
            references=("red square",),
            new_tokens=2,
        )
        for index, answer in enumerate(answers)
    )
    return replace(record, predictions=predictions, quality=score(predictions))


def test_wer_of_equal_and_of_worse_answers(record: RunRecord) -> None:
    good = answered(record, ["red square"] * 20 + ["red"] * 20)
    bad = answered(record, ["blue square"] * 20 + ["red"] * 20)
    assert metric(good, good, "wer").verdict == "unchanged: all 40 answers are equal"
    found = metric(good, bad, "wer")
    # 20 errors in 80 words against 40.
    assert (found.base, found.other, found.change) == (0.25, 0.5, 0.25)
    assert found.shown
    assert found.verdict.startswith("worse by 0.2500 [")
    one_word = answered(record, ["blue square"] + ["red square"] * 19 + ["red"] * 20)
    slight = metric(good, one_word, "wer")
    assert not slight.shown
    assert "interval includes 0" in slight.verdict
    elsewhere = metric(good, answered(record, ["red"] * 40, ids="t"), "wer")
    assert "not paired" in elsewhere.basis
    assert metric(good, record, "wer").absent.startswith("OTHER: the weights are")


# ---- environments


def test_unlike_environments_are_told_from_what_was_changed_on_purpose(record: RunRecord) -> None:
    other = replace(
        record,
        environment=replace(
            record.environment,
            torch="2.0.0",
            cpu_model="Another",
            packages={**record.environment.packages, "transformers": "4.0", "jiwer": "1"},
        ),
        config=replace(record.config, dtype="bf16", batch_size=4, out="elsewhere"),
    )
    found = {(item.kind, item.name) for item in differences(record, other)}
    assert found == {
        ("environment", "torch"),
        ("environment", "CPU"),
        ("environment", "transformers"),
        ("work", "batch_size"),
        ("way", "dtype"),
        ("noted", "jiwer"),
    }
    assert differences(record, record) == ()


def test_a_gpu_counts_between_cuda_runs_only(record: RunRecord) -> None:
    gpu = replace(
        record,
        config=replace(record.config, device="cuda"),
        environment=replace(record.environment, gpu_name="A", driver="1", gpu_count=1),
    )
    another = replace(gpu, environment=replace(gpu.environment, gpu_name="B", driver="2"))
    names = [item.name for item in unlike_environments(differences(gpu, another))]
    assert names == ["GPU", "driver"]
    assert unlike_environments(differences(record, gpu)) == ()


def test_other_optimizations_are_named(record: RunRecord) -> None:
    tuned = replace(
        record.config, optimization="compile", coordinate_descent_tuning=True, optimize="eager"
    )
    found = {item.name: item for item in differences(record, replace(record, config=tuned))}
    assert (found["optimize"].base, found["optimize"].other) == ("eager", "compile,tuned")
    assert found["optimize"].kind == found["optimization"].kind == "way"
    unknown = replace(record, config=replace(record.config, optimize="of-another-version"))
    (only,) = differences(record, unknown)
    assert (only.name, only.other) == ("optimize", "of-another-version")


def test_every_configuration_field_is_work_way_or_neither() -> None:
    from dataclasses import fields

    from layerscope.differences import environment

    names = {field.name for field in fields(RunConfig)}
    assert names >= environment._WORK
    assert names >= environment._NEITHER


# ---- --fail-on


@pytest.mark.parametrize(
    ("text", "metric_name", "operator", "value", "relative"),
    [
        ("latency>5%", "latency", ">", 0.05, True),
        (" energy >= 0.5 ", "energy", ">=", 0.5, False),
        ("wer>.01", "wer", ">", 0.01, False),
        ("host<-10 %", "host", "<", -0.1, True),
        ("flops<=+2.", "flops", "<=", 2.0, False),
    ],
)
def test_conditions_are_read(
    text: str, metric_name: str, operator: str, value: float, relative: bool
) -> None:
    found = parse_condition(text)
    assert (found.metric, found.operator, found.relative) == (metric_name, operator, relative)
    assert found.value == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    ["", "latency", "latency>", "latency=5%", "latency>5%%", "latency>1e3", "latency>5%;wer>1",
     "latency>__import__('os')", "5%<latency", "latency>nan", "latency>\N{ARABIC-INDIC DIGIT FIVE}"],
)  # fmt: skip
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not METRIC OP VALUE"):
        parse_condition(text)


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean latency"):
        parse_condition("latencies>5%")


def test_only_a_shown_difference_crosses(record: RunRecord) -> None:
    base = Subject(name="b", record=run_of(record, [1.0] * 8))
    slower = compare(base, Subject(name="o", record=run_of(record, [1.12] * 8)))
    assert judge(parse_condition("latency>5%"), slower).crossed
    assert judge(parse_condition("latency>0.1"), slower).crossed
    assert not judge(parse_condition("latency>0.13"), slower).crossed
    assert not judge(parse_condition("latency>20%"), slower).crossed
    assert not judge(parse_condition("latency<5%"), slower).crossed
    noisy = [1.0, 1.4, 1.0, 1.3, 1.1, 1.0, 1.5, 1.2]
    unclear = compare(base, Subject(name="o", record=run_of(record, noisy)))
    outcome = judge(parse_condition("latency>5%"), unclear)
    assert (outcome.crossed, outcome.judged) == (False, True)
    assert "no difference shown" in outcome.sentence
    absent = judge(parse_condition("wer>5%"), unclear)
    assert (absent.crossed, absent.judged) == (False, False)
    assert "cannot be judged: both: the weights are" in absent.sentence


def test_from_a_base_of_nothing_any_share_is_crossed(record: RunRecord) -> None:
    perfect = answered(record, ["red square"] * 30)
    worse = answered(record, ["blue square"] * 30)
    found = compare(Subject(name="b", record=perfect), Subject(name="o", record=worse))
    assert judge(parse_condition("wer>500%"), found).crossed


# ---- false alarms


def white(sigma: float) -> Noise:
    return lambda random, n: random.normal(0, sigma, n)


def correlated(sigma: float, alike: float) -> Noise:
    def draw(random: np.random.Generator, n: int) -> Floats:
        values = np.empty(n)
        values[0] = random.normal(0, sigma)
        for index in range(1, n):
            step = random.normal(0, sigma * (1 - alike**2) ** 0.5)
            values[index] = alike * values[index - 1] + step
        return values

    return draw


def drifting(sigma: float, change: float) -> Noise:
    """Slower or faster by up to `change` (one sigma) from start to end, as clocks sink with heat."""
    return lambda random, n: (
        random.normal(0, sigma, n) + random.normal(0, change) * np.linspace(-0.5, 0.5, n)
    )


def waving(sigma: float, height: float) -> Noise:
    """A neighbour that comes and goes half a time to twice in a run, at any moment."""

    def draw(random: np.random.Generator, n: int) -> Floats:
        turns = random.uniform() + random.uniform(0.5, 2) * np.arange(n) / n
        found: Floats = random.normal(0, sigma, n) + height * np.sin(2 * np.pi * turns)
        return found

    return draw


def heavy_tailed(sigma: float) -> Noise:
    return lambda random, n: sigma * random.standard_t(2, n)


NOISES = {
    "independent 2 %": white(0.02),
    "independent 10 %": white(0.1),
    "correlated 0.5": correlated(0.05, 0.5),
    "drift 10 %": drifting(0.02, 0.1),
    "waves 10 %": waving(0.02, 0.1),
    "heavy tails": heavy_tailed(0.03),
}
# Batches of the data whose answers differ in length.
CONTENTS = np.array([0.0, 0.12, -0.1, 0.05])


def simulated(record: RunRecord, noise: Noise, random: np.random.Generator) -> RunRecord:
    """A run as `profile` makes it: batches in turn until its own rule says stop, at most 10 s."""
    rule = StoppingRule(limit_s=10.0)
    drawn = np.exp(noise(random, 40) + np.tile(CONTENTS, 10)) * 0.4
    taken = next(
        n for n in range(4, 41) if n == 40 or rule.reason_to_stop(drawn[:n], float(drawn[:n].sum()))
    )
    return run_of(
        record,
        list(drawn[:taken]),
        list(0.1 * np.exp(noise(random, 5))),
        list(8 * np.exp(noise(random, 6) / 3)),
        batches=4,
    )


@pytest.mark.parametrize("name", NOISES)
def test_at_most_one_false_alarm_in_200_pairs_of_equal_runs(record: RunRecord, name: str) -> None:
    random = np.random.default_rng(20261125)
    alarms = []
    for number in range(200):
        runs = [simulated(record, NOISES[name], random) for _ in range(2)]
        found = compare(Subject(name="base", record=runs[0]), Subject(name="other", record=runs[1]))
        assert [item.metric for item in found.metrics] == list(METRICS)
        alarms += [(number, item.metric, item.verdict) for item in found.metrics if item.shown]
    assert len({number for number, _, _ in alarms}) <= 1, alarms


@pytest.mark.parametrize(("name", "times"), [("independent 2 %", 0.85), ("correlated 0.5", 0.5)])
def test_a_real_change_is_seen(record: RunRecord, name: str, times: float) -> None:
    """The other half of the bargain: what stands out far enough of its noise is shown."""
    random = np.random.default_rng(7)
    seen = 0
    for _ in range(20):
        base = simulated(record, NOISES[name], random)
        other = simulated(record, NOISES[name], random)
        faster = [
            replace(sample, generate_ns=round(times * sample.generate_ns))
            for sample in other.latency
        ]
        found = metric(base, replace(other, latency=tuple(faster)), "latency")
        seen += found.shown and found.verdict.startswith("faster")
    assert seen >= 16
