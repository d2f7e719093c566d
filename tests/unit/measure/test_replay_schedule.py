"""Replay windows on a fake machine: known powers give back known joules, and intervals hold them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import msgspec
import pytest
from unit.measure.fake_energy import FakeCounter, FakeMachine

from layerscope.measure.energy.window import WindowTiming
from layerscope.measure.replay.player import Player, Refused
from layerscope.measure.replay.schedule import Bench, Replayed, replay_units
from layerscope.records.energy_record import DeviceState
from layerscope.records.layer_energy import ReplayUnit
from layerscope.stats.energy_summary import window_energy
from layerscope.stats.replay_noise import pass_energies

IDLE_W = 100.0
QUICK = WindowTiming(min_s=0.5, poll_s=0.005)


@dataclass
class FakeUnit:
    """A unit whose pass takes `pass_s` at `watts`; it may refuse from some window on."""

    unit: ReplayUnit
    machine: FakeMachine
    pass_s: float
    watts: Callable[[], float]
    refuses_at: int | None = None
    made: int = 0

    def player(self) -> tuple[Player, str]:
        self.made += 1
        if self.refuses_at is not None and self.made >= self.refuses_at:
            raise Refused("changes its input in place: a tensor of shape (2, 3)")
        watts = self.watts()  # one state of clocks and heat for a window

        def run(passes: int) -> None:
            self.machine.advance(passes * self.pass_s, watts)

        passes = max(1, round(0.1 / self.pass_s))
        return Player(run=run, passes=passes, pass_s=self.pass_s, how="plain"), "made up"


def unit(name: str, kind: str = "block", calls: int = 1) -> ReplayUnit:
    return ReplayUnit(
        name=name, kind=kind, phase="vision", layers=(name,), calls=calls, replayed=(0,)
    )


def bench(machine: FakeMachine, counter: FakeCounter, timing: WindowTiming = QUICK) -> Bench:
    return Bench(
        meters=[counter],
        clock=machine,
        synchronize=lambda: None,
        idle_w=IDLE_W,
        timing=timing,
    )


def steady(
    machine: FakeMachine, name: str, pass_s: float, watts: float, kind: str = "block"
) -> FakeUnit:
    return FakeUnit(unit(name, kind), machine, pass_s, lambda: watts)


def test_known_powers_give_back_known_joules() -> None:
    """10 ms at 400 W above 100 W idle: 3 J a pass; 2 ms at 250 W: 0.3 J."""
    machine = FakeMachine(IDLE_W)
    counter = FakeCounter(machine)
    units = [steady(machine, "a", 0.010, 400.0), steady(machine, "b", 0.002, 250.0)]
    done = replay_units(units, bench(machine, counter), limit_s=60)
    assert done.stopped == "every standard error is under 2%"
    assert done.lost is None
    found = pass_energies(done.units, IDLE_W)
    for name, joules, watts, seconds in (("a", 3.0, 400.0, 0.010), ("b", 0.3, 250.0, 0.002)):
        assert found[name].dynamic_j == pytest.approx(joules, rel=0.005)
        assert found[name].power_w == pytest.approx(watts, rel=0.005)
        assert found[name].busy_s == pytest.approx(seconds)
        assert abs(found[name].dynamic_j - joules) <= found[name].counter_j + 1e-6
    assert all(w.busy_s >= 0.5 for u in done.units for w in u.windows)
    encoded = msgspec.json.encode(done.units)
    assert msgspec.json.decode(encoded, type=tuple[ReplayUnit, ...]) == done.units


def test_the_order_is_drawn_from_the_seed_and_mixes_wholes_with_layers() -> None:
    def order(seed: int) -> list[str]:
        machine = FakeMachine(IDLE_W)
        counter = FakeCounter(machine)
        units = [steady(machine, f"layer {n}", 0.01, 300.0) for n in range(6)]
        units += [steady(machine, f"whole {n}", 0.05, 300.0) for n in range(3)]
        done = replay_units(units, bench(machine, counter), limit_s=100, seed=seed)
        turns = sorted((w.turn, u.name) for u in done.units for w in u.windows)
        assert [turn for turn, _ in turns] == list(range(18))
        return [name for _, name in turns]

    first = order(1)
    assert first == order(1) != order(2)
    assert sorted(first[:9]) == sorted(first[9:])  # a round is a round
    assert first[:9] != first[9:]
    assert {"whole 0", "whole 1", "whole 2"} != set(first[6:9])


def test_out_of_time_the_largest_units_have_their_window_and_the_others_the_reason() -> None:
    machine = FakeMachine(IDLE_W)
    counter = FakeCounter(machine)
    units = []
    for number in range(10):
        one = unit(f"layer {number}")
        one = ReplayUnit(
            name=one.name, kind="block", phase="vision", layers=one.layers, calls=1,
            replayed=(0,), device_ns=number,
        )  # fmt: skip
        units.append(FakeUnit(one, machine, 0.01, lambda: 300.0))
    done = replay_units(units, bench(machine, counter), limit_s=6.0)
    assert done.spent_s <= 6.0
    assert "limit of 6 s" in done.stopped
    measured = {u.name for u in done.units if u.windows}
    assert measured == {f"layer {n}" for n in range(10 - len(measured), 10)}
    assert 3 <= len(measured) < 10
    left = [u for u in done.units if not u.windows]
    assert all(u.reason == "no window was measured: limit of 6 s reached" for u in left)


def test_a_unit_that_refuses_ends_with_its_reason_and_without_windows() -> None:
    """Also one that refuses in the second round: what was measured before is not trusted."""
    machine = FakeMachine(IDLE_W)
    counter = FakeCounter(machine)
    good = steady(machine, "good", 0.01, 300.0)
    at_once = FakeUnit(unit("at once"), machine, 0.01, lambda: 300.0, refuses_at=1)
    later = FakeUnit(unit("later"), machine, 0.01, lambda: 300.0, refuses_at=2)
    done = replay_units([good, at_once, later], bench(machine, counter), limit_s=60)
    units = {u.name: u for u in done.units}
    assert units["good"].reason is None
    assert len(units["good"].windows) == 2
    for name in ("at once", "later"):
        assert units[name].windows == ()
        assert "changes its input in place" in (units[name].reason or "")


def test_a_unit_that_fails_in_its_window_ends_with_its_reason() -> None:
    machine = FakeMachine(IDLE_W)
    counter = FakeCounter(machine)
    bad = steady(machine, "bad", 0.01, 300.0)
    made = bad.player

    def player() -> tuple[Player, str]:
        def run(passes: int) -> None:
            raise RuntimeError("CUDA error: device-side assert\nmore")

        return replace(made()[0], run=run), "made up"

    bad.player = player  # type: ignore[method-assign]
    good = steady(machine, "good", 0.01, 300.0)
    done = replay_units([bad, good], bench(machine, counter), limit_s=60)
    assert done.units[0].reason == "fails on replay: CUDA error: device-side assert"
    assert len(done.units[1].windows) == 2


def test_a_throttled_window_is_measured_again_and_then_kept_with_its_mark() -> None:
    machine = FakeMachine(IDLE_W)
    counter = FakeCounter(machine)
    asked = 0

    def states(until: int) -> Callable[[], list[DeviceState]]:
        def read() -> list[DeviceState]:
            nonlocal asked
            asked += 1
            slow = ("software thermal slowdown",) if asked <= until else ()
            return [DeviceState(device="gpu 0", time_ns=machine.now_ns, throttle_reasons=slow)]

        return read

    def windows(until: int) -> tuple[int, tuple[str, ...]]:
        nonlocal asked
        asked = 0
        one = Bench(
            meters=[counter], clock=machine, synchronize=lambda: None, idle_w=IDLE_W,
            states=states(until), timing=QUICK,
        )  # fmt: skip
        done = replay_units([steady(machine, "a", 0.01, 300.0)], one, limit_s=60)
        first = done.units[0].windows[0]
        return first.repeats, first.throttled

    assert windows(until=0) == (0, ())
    assert windows(until=1) == (1, ())
    assert windows(until=99) == (2, ("software thermal slowdown",))


def test_a_kind_that_throttles_after_every_rest_is_repeated_no_more() -> None:
    """Forty blocks that draw more than the power cap would spend minutes on rests that help none."""
    machine = FakeMachine(IDLE_W)
    counter = FakeCounter(machine)

    def states() -> list[DeviceState]:
        slow = ("software power cap",)
        return [DeviceState(device="gpu 0", time_ns=machine.now_ns, throttle_reasons=slow)]

    one = Bench(
        meters=[counter], clock=machine, synchronize=lambda: None, idle_w=IDLE_W,
        states=states, timing=QUICK,
    )  # fmt: skip
    blocks = [steady(machine, f"block {n}", 0.01, 300.0, "block.*") for n in range(3)]
    other = steady(machine, "head", 0.01, 300.0, "head")
    done = replay_units([*blocks, other], one, limit_s=100)
    windows = [window for unit in done.units for window in unit.windows]
    assert all(window.throttled for window in windows)
    repeats = [sum(w.repeats for w in unit.windows) for unit in done.units]
    assert sum(repeats[:3]) == 2  # the first window of the kind, whichever block's it was
    assert repeats[3] == 2


def test_a_window_that_is_too_short_for_the_counter_grows() -> None:
    """A clock that is read every 20 ms sees edges late: a small layer's window doubles."""
    machine = FakeMachine(IDLE_W)
    counter = FakeCounter(machine)
    late = WindowTiming(min_s=0.5, poll_s=0.02)
    done = replay_units(
        [steady(machine, "small", 0.001, 130.0)], bench(machine, counter, late), limit_s=60
    )
    lengths = [round(w.busy_s, 1) for w in done.units[0].windows]
    assert lengths[:2] == [0.5, 1.0]


def test_a_counter_that_is_lost_ends_the_pass_with_the_reason() -> None:
    machine = FakeMachine(IDLE_W)
    counter = FakeCounter(machine)
    units = [steady(machine, f"layer {n}", 0.01, 300.0) for n in range(3)]

    def advance(done: int) -> None:
        counter.mode = "vanished"

    found = replay_units(units, bench(machine, counter), limit_s=60, advance=advance)
    assert "GPU is lost" in (found.lost or "")
    assert sum(len(u.windows) for u in found.units) == 1


def test_intervals_cover_the_truth_under_steps_and_noise() -> None:
    """2,000 units in 100 trials: 100 ms steps of changing length, rest and power both vary.

    Each trial is a kind of 20 units with energies of their own. Power varies by 3 % from window to
    window, the rest by 3 W, and the truth is 300 W above idle for 10 ms: a unit's own 3 J.
    """
    random = Random(5)
    held = trials = 0
    for _ in range(100):
        machine = FakeMachine(IDLE_W)
        counter = FakeCounter(machine, phase_s=random.uniform(0, 0.1), jitter=random)
        truths = {f"layer {n}": random.uniform(200, 500) for n in range(20)}

        def noisy(watts: float, machine: FakeMachine = machine) -> Callable[[], float]:
            def draw() -> float:
                machine.rest_w = random.gauss(IDLE_W, 3)
                return IDLE_W + watts * random.gauss(1, 0.03)

            return draw

        units = [FakeUnit(unit(n), machine, 0.010, noisy(w)) for n, w in truths.items()]
        done: Replayed = replay_units(units, bench(machine, counter), limit_s=46)
        for name, energy in pass_energies(done.units, IDLE_W).items():
            interval = energy.interval
            assert interval is not None
            held += interval.low <= truths[name] * 0.010 <= interval.high
            trials += 1
    assert trials == 2000
    assert held / trials >= 0.93


def test_one_window_each_has_no_interval() -> None:
    machine = FakeMachine(IDLE_W)
    counter = FakeCounter(machine)
    done = replay_units([steady(machine, "a", 0.01, 300.0)], bench(machine, counter), limit_s=1.5)
    (energy,) = pass_energies(done.units, IDLE_W).values()
    assert energy.windows == 1
    assert energy.interval is None
    assert energy.relative_error is None
    assert energy.counter_j > 0


def test_the_pooled_error_by_hand() -> None:
    """Two units of 4 J a pass and two windows, off by ±0.03 J and ±0.09 J.

    s² = (2 · 0.0075² + 2 · 0.0225²) / 2 = 0.0005625, so 4 J · √(s² / 2) = 0.0671 J.
    """
    machine = FakeMachine(IDLE_W)
    counter = FakeCounter(machine, phase_s=0.0)
    draws = {"a": iter([1.01, 0.99]), "b": iter([1.03, 0.97])}

    def watts(name: str) -> Callable[[], float]:
        return lambda: IDLE_W + 300.0 * next(draws[name])

    units = [FakeUnit(unit(name), machine, 0.01, watts(name)) for name in draws]
    done = replay_units(units, bench(machine, counter), limit_s=5.5)
    found = pass_energies(done.units, IDLE_W)
    assert [len(u.windows) for u in done.units] == [2, 2]
    for name in draws:
        assert found[name].freedom == 2
        expected = 0.0671
        assert found[name].error_j == pytest.approx(expected, rel=0.05)
        assert found[name].half_width_j == pytest.approx(4.303 * expected, rel=0.05)
    energy = window_energy(done.units[0].windows[0].window)
    assert energy.work_j > 0
