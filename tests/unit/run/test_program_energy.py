"""Joules per call of somebody's program: fake counters and a fake clock, real arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from unit.measure.fake_energy import FakeCounter, FakeMachine

from layerscope.differences.headline import headline_changes
from layerscope.measure.energy.meter import MeterLost
from layerscope.records import EnergyAbsent, RunRecord, load
from layerscope.records.program_energy import EnergyReading, ProgramEnergy
from layerscope.report.end_to_end import end_to_end
from layerscope.report.html.headline import headlines
from layerscope.run.program.asked import Asked
from layerscope.run.program.counters import step_of
from layerscope.run.program.finish import finish
from layerscope.run.program.looking import Looking
from layerscope.run.program.spool import Spool
from layerscope.run.program.steady import Read, SteadyCalls
from layerscope.stats.program_energy import CallEnergy, joules_by_part, summarise_program_energy

SHAPE = {"input_ids": [1, 6]}
WORK_W, REST_W = 400.0, 80.0


class Program:
    """Calls, what lies between them, and the counter of the device they run on."""

    def __init__(
        self, *, step_s: float = 0.1, lag_s: float = 0.0, whole_steps: bool = False
    ) -> None:
        self.machine = FakeMachine(rest_w=REST_W)
        self.counter = FakeCounter(self.machine, step_s=step_s, lag_s=lag_s)
        self.others: Callable[[], str | None] = lambda: ""
        read = Read(meters=[self.counter], others=lambda: self.others())
        self.steady = SteadyCalls(read, self.machine, SHAPE, whole_steps=whole_steps)

    def call(self, seconds: float = 0.3, rest_s: float = 0.001, shape: object = SHAPE) -> None:
        done = self.steady.is_done  # nothing is looked at any more
        if not done:
            self.steady.begins(shape)
        self.machine.advance(seconds, WORK_W)
        if not done:
            self.steady.ends()
        self.machine.advance(rest_s, REST_W)

    def found(self) -> CallEnergy:
        step_s = step_of([self.counter], self.machine)
        return summarise_program_energy(replace(self.steady.record(), counter_step_s=step_s))


@pytest.mark.parametrize(("step_s", "lag_s"), [(0.1, 0.0), (0.1, 0.07), (0.02, 0.02)])
def test_joules_per_call_are_those_spent_within_the_error_that_is_stated(
    step_s: float, lag_s: float
) -> None:
    program = Program(step_s=step_s, lag_s=lag_s)
    while not program.steady.is_done:
        program.call()
    found = program.found()
    true_j = 0.3 * WORK_W + 0.001 * REST_W
    assert found.joules_per_call is not None
    assert found.counter_error is not None
    # Two steps of the counter over ten seconds.
    assert found.counter_error == pytest.approx(2 * step_s / found.span_s, rel=0.05)
    assert abs(found.joules_per_call - true_j) <= found.counter_error * true_j
    assert 10 <= found.span_s < 11.5
    assert found.mean_w == pytest.approx(found.joules_per_call * found.calls / found.span_s)
    assert found.interval is not None
    assert found.interval.low < true_j < found.interval.high
    assert found.between_calls == pytest.approx(0.001 / 0.301, rel=0.05)


def test_what_was_spent_and_what_is_reported_agree_by_hand() -> None:
    readings = (
        EnergyReading(time_ns=0, joules=(10.0, 1.0), calls=0, in_calls_ns=0),
        EnergyReading(time_ns=2_000_000_000, joules=(40.0, 3.0), calls=4, in_calls_ns=1_980_000_000),
        EnergyReading(time_ns=5_000_000_000, joules=(82.0, 7.0), calls=10, in_calls_ns=4_900_000_000),
    )  # fmt: skip
    energy = ProgramEnergy(stretches=(readings,), calls=10, near=10, others="", counter_step_s=0.1)
    found = summarise_program_energy(energy)
    assert found.joules_per_call == pytest.approx((72 + 6) / 10)
    assert found.mean_w == pytest.approx(78 / 5)
    assert found.counter_error == pytest.approx(0.2 / 5)
    assert found.between_calls == pytest.approx(0.1 / 5)
    assert joules_by_part(energy) == pytest.approx([32 / 4, 46 / 6])


def test_long_calls_with_rests_between_them_are_measured_one_by_one() -> None:
    program = Program()
    for _ in range(9):
        program.call(2.2, rest_s=9.0)  # somebody reads the answer
    found = program.found()
    assert found.calls == 5  # ten seconds in calls
    assert found.joules_per_call is not None
    assert found.counter_error is not None
    true_j = 2.2 * WORK_W
    assert abs(found.joules_per_call - true_j) <= found.counter_error * true_j + 0.1
    assert found.between_calls == pytest.approx(0, abs=1e-9)


def test_steps_of_training_reach_from_one_call_to_the_next() -> None:
    program = Program(whole_steps=True)
    for _ in range(60):
        program.call(0.1, rest_s=0.2)  # the second part: backward and optimizer
    found = program.found()
    true_j = 0.1 * WORK_W + 0.2 * REST_W
    assert found.joules_per_call is not None
    assert found.counter_error is not None
    assert abs(found.joules_per_call - true_j) <= found.counter_error * true_j
    assert found.between_calls is None


def test_a_pause_between_steps_is_no_part_of_them() -> None:
    program = Program(whole_steps=True)
    for number in range(60):
        program.call(0.1, rest_s=60.0 if number == 20 else 0.2)
    found = program.found()
    true_j = 0.1 * WORK_W + 0.2 * REST_W
    assert found.joules_per_call == pytest.approx(true_j, rel=0.05)


def reason_after(do: Callable[[Program], None], **how: float) -> str:
    program = Program(**how)  # type: ignore[arg-type]
    do(program)
    found = program.found()
    assert found.joules_per_call is None
    assert found.mean_w is None
    assert found.reason is not None
    return found.reason


def calls(number: int, seconds: float = 0.3, rest_s: float = 0.001) -> Callable[[Program], None]:
    def do(program: Program) -> None:
        for _ in range(number):
            program.call(seconds, rest_s)

    return do


def alternating(program: Program) -> None:
    for number in range(40):
        program.call(0.2 if number % 2 else 0.8)


def shapes_in_turn(program: Program) -> None:
    for number in range(40):
        program.call(shape={"input_ids": [1, number % 2]})


def shared(program: Program) -> None:
    program.others = lambda: "2 processes compute on gpu 0; the counter has the joules of all"
    calls(40)(program)


def test_what_cannot_be_told_is_absent_with_the_reason() -> None:
    assert "0 calls" in reason_after(calls(0))
    assert "2 calls" in reason_after(calls(2, 1.1))
    assert "4 calls of the traced one's shapes" in reason_after(calls(5))
    assert "too short: 1 s" in reason_after(calls(7, 0.2))
    assert "lies between calls" in reason_after(calls(40, 0.1, 0.05))
    assert "do not repeat steadily" in reason_after(alternating)
    assert "40 calls had other shapes" in reason_after(shapes_in_turn)
    assert reason_after(shared).startswith("2 processes compute")


def test_a_counter_that_fails_gives_no_number() -> None:
    for mode, said in (("vanished", "GPU is lost"), ("reset", "moved back")):
        program = Program()
        calls(10)(program)
        program.counter.mode = mode
        calls(10)(program)
        assert program.steady.is_done
        found = summarise_program_energy(
            replace(program.steady.record(), counter_step_s=0.1)
        )  # its step is no longer to be seen
        assert found.joules_per_call is None
        assert said in str(found.reason)
    program.counter.mode = "vanished"
    with pytest.raises(MeterLost):
        program.counter.read_j()
    assert step_of([program.counter], program.machine) is None


def test_it_ends_looking_where_nothing_repeats() -> None:
    program = Program()
    for number in range(20):
        program.call(6.0, shape=number)
        if program.steady.is_done:
            break
    assert number == 9  # a minute
    assert "10 calls had other shapes" in str(program.found().reason)


def test_calls_that_overlap_are_nobody_s() -> None:
    program = Program()
    for _ in range(30):
        program.steady.begins(SHAPE)
        program.machine.advance(0.2, WORK_W)
        program.steady.disturbed()  # another thread's call began
        program.machine.advance(0.1, WORK_W)
        program.steady.ends()
    assert "0 calls" in str(program.found().reason)


def steady(call_j: float, step_s: float = 0.02) -> ProgramEnergy:
    """Ten seconds of calls of a second each, which differ by a per mille."""
    readings = tuple(
        EnergyReading(
            time_ns=n * 1_000_000_000,
            joules=(n * call_j * (1 + 0.001 * (n % 2)),),
            calls=n,
            in_calls_ns=n * 1_000_000_000,
        )
        for n in range(11)
    )
    return ProgramEnergy(
        sources=("a counter",), stretches=(readings,), calls=10, near=10, others="",
        counter_step_s=step_s,
    )  # fmt: skip


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """Of a program's call, as `layerscope run` saves it."""
    spool, out = tmp_path_factory.mktemp("spool"), tmp_path_factory.mktemp("out")
    asked = Asked(spool=str(spool), step=1)
    looking = Looking(asked, Spool(asked, 7), lambda _: EnergyAbsent(reason="no counter here"))
    looking._every.put()
    model = torch.nn.Sequential(torch.nn.Linear(4, 4))
    try:
        with torch.no_grad():
            model(torch.ones(1, 4))
            model(torch.ones(1, 4))
    finally:
        looking.end()
        looking._every.give_up()
        looking._classes.put_back()
    (folder,) = finish(spool, out, "serve.py", 1).folders
    return load(folder)


def with_energy(record: RunRecord, energy: ProgramEnergy) -> RunRecord:
    assert record.captured is not None
    assert record.captured.program is not None
    program = replace(record.captured.program, energy=energy)
    found = summarise_program_energy(energy)
    reported = replace(record.report.energy, value=found.joules_per_call, reason=found.reason)
    return replace(
        record,
        captured=replace(record.captured, program=program),
        report=replace(record.report, energy=reported),
    )


def test_the_reports_of_a_program_show_joules_per_call(record: RunRecord) -> None:
    assert record.report.energy.reason == "no counter here"
    assert record.report.flops.reason == "not counted; layerscope run --count counts a later call"
    assert dict(end_to_end(record)).get("energy") is None
    shown = with_energy(record, steady(120.0))
    lines = list(end_to_end(shown))
    (text,) = (text for label, text in lines if label == "energy")
    assert text.startswith("120 J/call [119.5, 120.5]")
    assert "mean 120 W over 10 untraced calls in 10 s" in text
    assert any("its steps may account for 0.4%" in text for _, text in lines)
    energy = headlines(shown)[1]
    assert energy.value == "120 J/call"
    assert "10 calls; 95 % interval 119" in energy.interval


def test_programs_are_compared_by_joules_per_call(record: RunRecord) -> None:
    base, other = with_energy(record, steady(120.0)), with_energy(record, steady(180.0))
    change = {c.metric: c for c in headline_changes(base, other)}["energy"]
    assert change.unit == "J/call"
    assert change.verdict.startswith("more energy by 50 %")
    assert change.relative == pytest.approx(0.5, rel=0.01)
    absent = {c.metric: c for c in headline_changes(base, record)}["energy"]
    assert absent.absent == "OTHER: no counter here"
    assert absent.verdict == "not judged"
