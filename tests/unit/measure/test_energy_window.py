"""Energy windows on a fake counter: known power in, exact joules out, and honest uncertainty."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.measure.fake_energy import FakeCounter, FakeMachine

from layerscope.measure.clock import SystemClock
from layerscope.measure.energy.energy_pass import measure_energy
from layerscope.measure.energy.window import BatchDone, WindowTiming, idle_window, work_window
from layerscope.records.energy_record import (
    CounterEdge,
    CounterWindow,
    DeviceState,
    EnergyAbsent,
    EnergyBatch,
    EnergyRecord,
    EnergyWindow,
)
from layerscope.stats.energy_summary import summarise_energy, window_energy

# 0.25 s at 400 W (prefill) and 0.35 s at 200 W (decode): 170 J a batch, mean 283.3 W.
PROFILE = [(0.25, 400.0), (0.35, 200.0)]
BATCH_J = 170.0


def edge(time_s: float, joules: float) -> CounterEdge:
    return CounterEdge(time_ns=round(time_s * 1e9), late_ns=0, joules=joules)


def test_window_energy_by_hand() -> None:
    """Two batches of 1 s; the window holds 0.2 s of rest at 100 W: 520 - 20 = 500 J."""
    window = EnergyWindow(
        counters=(
            CounterWindow(
                counter="gpu 0",
                start=edge(10.0, 1000.0),
                landed=edge(12.1, 1510.0),
                end=edge(12.2, 1520.0),
                after=edge(12.3, 1530.0),
            ),
        ),
        batches=(
            EnergyBatch(
                batch=0, start_ns=10_000_000_000, end_ns=11_000_000_000, samples=4, new_tokens=20
            ),
            EnergyBatch(
                batch=1, start_ns=11_000_000_000, end_ns=12_000_000_000, samples=4, new_tokens=30
            ),
        ),
    )
    energy = window_energy(window)
    assert energy.work_j == pytest.approx(500)
    assert energy.rest_w == pytest.approx(100)
    assert energy.mean_w == pytest.approx(250)
    assert energy.uncertainty_j == pytest.approx(0, abs=1e-6)
    idle = EnergyWindow(
        counters=(
            CounterWindow(
                counter="gpu 0", start=edge(1, 800), landed=None, end=edge(3, 960), after=None
            ),
        )
    )
    summary = summarise_energy(EnergyRecord(idle=idle, windows=(window,)))
    assert summary.joules_per_sample == pytest.approx(500 / 8)
    assert summary.joules_per_token == pytest.approx(10)
    assert summary.joules_per_batch == pytest.approx(250)
    assert summary.mean_over_batches_j == pytest.approx((250 / 4 + 250 / 4) / 2)
    assert summary.idle_w == pytest.approx(80)
    assert summary.share_above_idle == pytest.approx(1 - 80 * 2 / 500)
    assert summary.interval is None  # one window


@settings(max_examples=60, deadline=None)
@given(
    phase_s=st.floats(0.0, 0.1),
    rest_w=st.floats(50, 150),
    profile=st.lists(st.tuples(st.floats(0.01, 0.7), st.floats(60, 700)), min_size=1, max_size=4),
)
def test_a_known_profile_gives_its_joules_within_the_stated_bound(
    phase_s: float, rest_w: float, profile: list[tuple[float, float]]
) -> None:
    machine = FakeMachine(rest_w)
    counter = FakeCounter(machine, phase_s=phase_s)
    window = work_window([counter], machine.batch(profile), machine)
    assert isinstance(window, EnergyWindow)
    energy = window_energy(window)
    truth = len(window.batches) * sum(seconds * watts for seconds, watts in profile)
    assert energy.busy_s >= 2.0
    assert abs(energy.work_j - truth) <= energy.uncertainty_j + 0.01
    assert energy.uncertainty_j <= 0.02 * truth + 1.0


@pytest.mark.parametrize("lag_s", [0.0, 0.03, 0.07, 0.1])
def test_a_counter_that_lags_a_step_still_gives_the_work(lag_s: float) -> None:
    machine = FakeMachine(100.0)
    counter = FakeCounter(machine, lag_s=lag_s)
    machine.sleep(0.5)
    window = work_window([counter], machine.batch(PROFILE), machine)
    assert isinstance(window, EnergyWindow)
    truth = BATCH_J * len(window.batches)
    # Blind reads of such a counter may miss a whole step: 40 J of this work.
    assert window_energy(window).work_j == pytest.approx(truth, abs=1.0)


def test_the_real_clock() -> None:
    """50 W at all times, a counter that moves every 20 ms of real time."""
    clock = SystemClock()

    class Steady:
        name, source, resolution_j = "steady", "50 W by the system clock", 0.001

        def read_j(self) -> float:
            return clock.monotonic_ns() // 20_000_000 * 0.02 * 50.0

    def work() -> BatchDone:
        clock.sleep(0.05)
        return BatchDone(batch=0, samples=1, new_tokens=1)

    window = work_window([Steady()], work, clock, WindowTiming(min_s=0.3))
    assert isinstance(window, EnergyWindow)
    energy = window_energy(window)
    assert abs(energy.work_j - 50.0 * energy.busy_s) <= energy.uncertainty_j + 0.001


def test_two_devices_out_of_step_add_up() -> None:
    machine = FakeMachine(100.0)
    first = FakeCounter(machine, name="gpu 0", phase_s=0.01, share=0.7)
    second = FakeCounter(machine, name="gpu 1", phase_s=0.06, share=0.3)
    window = work_window([first, second], machine.batch(PROFILE), machine)
    assert isinstance(window, EnergyWindow)
    energy = window_energy(window)
    assert energy.work_j == pytest.approx(BATCH_J * len(window.batches), abs=1.0)
    assert energy.rest_w == pytest.approx(100.0, rel=0.03)


def test_a_counter_that_moves_every_millisecond() -> None:
    machine = FakeMachine(20.0)
    counter = FakeCounter(machine, step_s=0.001, phase_s=0.0002)
    window = work_window([counter], machine.batch([(0.3, 90.0)]), machine)
    assert isinstance(window, EnergyWindow)
    energy = window_energy(window)
    assert energy.work_j == pytest.approx(27.0 * len(window.batches), abs=0.1)
    assert energy.rest_w == pytest.approx(20.0, rel=0.05)


def test_idle_window_is_at_least_as_long_as_asked_and_exact() -> None:
    machine = FakeMachine(83.0)
    window = idle_window([FakeCounter(machine)], machine)
    assert isinstance(window, EnergyWindow)
    (counter,) = window.counters
    assert counter.end.time_ns - counter.start.time_ns >= 2_000_000_000
    record = EnergyRecord(idle=window, windows=())
    assert summarise_energy(record).reason == "no energy window was measured"
    power_w = (counter.end.joules - counter.start.joules) / (
        (counter.end.time_ns - counter.start.time_ns) / 1e9
    )
    assert power_w == pytest.approx(83.0, rel=0.002)


@pytest.mark.parametrize(
    ("mode", "words"),
    [("stuck", "did not move in 5 s"), ("reset", "was reset"), ("vanished", "GPU is lost")],
)
def test_a_counter_that_fails_during_the_work_is_absent_with_the_reason(
    mode: str, words: str
) -> None:
    machine = FakeMachine()
    counter = FakeCounter(machine)
    plain = machine.batch(PROFILE)
    ran: list[BatchDone] = []

    def work() -> BatchDone:
        # The first call is the unmeasured one before the window.
        counter.mode = mode if ran else "ok"
        ran.append(plain())
        return ran[-1]

    record = measure_energy([counter], [work], machine)
    assert words in (record.reason or "")
    summary = summarise_energy(record)
    assert summary.joules_per_sample is None
    assert summary.reason == record.reason


def test_a_counter_that_goes_back_while_watched_is_absent() -> None:
    machine = FakeMachine()
    counter = FakeCounter(machine)
    machine.sleep(0.05)

    def at_rest() -> None:
        """After the work the watch has begun; the reset comes 50 ms into it."""
        turn_ns.append(machine.now_ns + 50_000_000)

    class Turning:
        name, source, resolution_j = counter.name, counter.source, 0.001

        def read_j(self) -> float:
            turned = bool(turn_ns) and machine.now_ns >= turn_ns[0]
            return counter.read_j() - (3.0 if turned else 0.0)

    turn_ns: list[int] = []
    window = work_window([Turning()], machine.batch(PROFILE), machine, after_work=at_rest)
    assert isinstance(window, EnergyAbsent)
    assert "moved back" in window.reason


def test_no_meters_is_absent_with_the_reason() -> None:
    machine = FakeMachine()
    record = measure_energy(EnergyAbsent(reason="no driver"), [], machine)
    assert record.reason == "no driver"
    assert measure_energy([], [], machine).reason


def test_errors_of_the_work_are_passed_on() -> None:
    machine = FakeMachine()

    def work() -> BatchDone:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_energy([FakeCounter(machine)], [work], machine)


def test_whole_pass_and_its_record_survives_json() -> None:
    machine = FakeMachine(100.0)
    counter = FakeCounter(machine)
    works = [machine.batch(PROFILE, index=i) for i in range(4)]
    record = measure_energy(
        [counter],
        works,
        machine,
        states=lambda: [DeviceState(device="gpu 0", time_ns=machine.now_ns, temperature_c=50)],
        driver="580.1",
    )
    assert record.reason is None
    assert len(record.windows) == len(record.states) == 4
    assert msgspec.json.decode(msgspec.json.encode(record), type=EnergyRecord) == record
    summary = summarise_energy(record)
    assert summary.joules_per_sample == pytest.approx(BATCH_J / 4, rel=0.005)
    assert summary.joules_per_token == pytest.approx(BATCH_J / 80, rel=0.005)
    assert summary.mean_over_batches_j == pytest.approx(BATCH_J / 4, rel=0.005)
    assert summary.idle_w == pytest.approx(100.0, rel=0.005)
    assert summary.share_above_idle == pytest.approx(1 - 100 * 0.6 / BATCH_J, abs=0.005)
    assert summary.counter_uncertainty is not None
    assert summary.counter_uncertainty < 0.02


def test_intervals_cover_the_truth_under_noise() -> None:
    """2,000 trials of five windows: power, duration, rest and the counter's steps all vary."""
    timing = WindowTiming(min_s=0.5, poll_s=0.005)
    random = Random(11)
    held = 0
    for _ in range(2000):
        machine = FakeMachine(random.gauss(100, 5))
        counter = FakeCounter(machine, phase_s=random.uniform(0, 0.1), jitter=random)

        def work(machine: FakeMachine = machine) -> BatchDone:
            machine.advance(random.gauss(0.25, 0.005), random.gauss(300, 20))
            return BatchDone(batch=0, samples=4, new_tokens=80)

        windows = [work_window([counter], work, machine, timing) for _ in range(5)]
        whole = [window for window in windows if isinstance(window, EnergyWindow)]
        assert len(whole) == 5
        interval = summarise_energy(EnergyRecord(windows=tuple(whole))).interval
        assert interval is not None
        held += interval.low <= 300 * 0.25 / 4 <= interval.high
    assert held / 2000 >= 0.93
