"""Idle time: gaps and active time divide the window to the nanosecond, each under a name."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kineto import TraceWriter
from support.shared import shared

from layerscope.account.account import account, work_out
from layerscope.timeline.idle import NOTHING_FOLLOWED, Idle, idle_of
from layerscope.trace.columns import read_trace


def idle_of_file(path: Path) -> Idle:
    columns = read_trace(path)
    idle = idle_of(work_out(columns), account(work_out(columns), source=str(path)).table)
    assert idle is not None
    return idle


def test_hand_counted_gaps(tmp_path: Path) -> None:
    """Window 0..1000. Kernels at 100-200, 300-400, 390-450, 450-500, 700-800 and 900-950.

    Gaps: 0-100 launched at 40 by `a` (late), 200-300 launched at 150 by `a` (had begun: queue),
    none before the overlapping and the adjoining one, 500-700 launched at 620 by `b` (late, 120 of
    it before the launch), 800-900 without a launch record, 950-1000 nothing followed.
    """
    trace = TraceWriter()
    trace.layer("generate", 0, 1000)
    trace.layer("a", 10, 500)
    trace.layer("b", 600, 100)
    for index, (at, start, end) in enumerate(
        [(40, 100, 200), (150, 300, 400), (200, 390, 450), (210, 450, 500), (620, 700, 800)]
    ):
        trace.launch(index, at)
        trace.kernel(index, start, end - start)
    trace.kernel(None, 900, 50)
    idle = idle_of_file(trace.write(tmp_path / "t.json"))
    rows = {row.layer: row for row in idle.rows}
    assert (rows["a"].host_ns, rows["a"].late_ns, rows["a"].queue_ns) == (100, 40, 100)
    assert (rows["a"].gaps, rows["a"].launches, rows["a"].active_ns) == (2, 4, 300)
    assert (rows["b"].host_ns, rows["b"].late_ns, rows["b"].queue_ns) == (200, 120, 0)
    assert (rows["(no launch record)"].unknown_ns, rows[NOTHING_FOLLOWED].unknown_ns) == (100, 50)
    assert (idle.window_ns, idle.active_ns, idle.idle_ns) == (1000, 450, 550)
    longest = (rows["a"].longest_ns, rows["b"].longest_ns, rows[NOTHING_FOLLOWED].longest_ns)
    assert longest == (100, 200, 50)


def test_launch_costs_and_verdict_of_a_phase(tmp_path: Path) -> None:
    """Window 0..1000, four kernels of 50 ns, each launched 100 ns before it starts, device free."""
    trace = TraceWriter()
    trace.layer("forward", 0, 1000)
    for index in range(4):
        trace.launch(index, 100 + 200 * index)
        trace.kernel(index, 200 + 200 * index, 50)
    (phase,) = idle_of_file(trace.write(tmp_path / "t.json")).phases
    # Gaps: 200 before the first, 150 between, 1000 - 850 = 150 at the end with nothing to wait for.
    assert (phase.active_ns, phase.host_ns, phase.unknown_ns) == (200, 200 + 3 * 150, 150)
    assert phase.late_ns == 100 + 3 * 50
    assert (phase.span_ns, phase.idle_share, phase.host_share) == (1000, 0.8, 0.65)
    assert (phase.launches, phase.wall_per_launch_ns, phase.host_per_launch_ns) == (4, 250, 250)
    assert phase.first_to_last_launch_ns == 600
    assert phase.verdict == "launch-bound"


@pytest.mark.parametrize(
    ("gap", "early", "verdict"),
    [(100, False, "launch-bound"), (99, False, "partly launch-bound"), (12, True, "waiting"),
     (11, False, "device-bound"), (12, False, "partly launch-bound")],
)  # fmt: skip
def test_verdicts_turn_at_their_shares(tmp_path: Path, gap: int, early: bool, verdict: str) -> None:
    """100 ns of work after one gap: half is 100 of 200, a tenth lies between 11/111 and 12/112."""
    trace = TraceWriter()
    trace.layer("forward", 1000, 100 + gap)
    # A kernel of 0 ns at the window's start: what follows waits for a launch before or after it.
    trace.launch(0, 990)
    trace.kernel(0, 1000, 0)
    trace.launch(1, 995 if early else 1000)
    trace.kernel(1, 1000 + gap, 100)
    (phase,) = idle_of_file(trace.write(tmp_path / "t.json")).phases
    assert (phase.idle_ns, phase.active_ns) == (gap, 100)
    assert phase.verdict == verdict


def test_one_graph_launch_feeds_many_kernels(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 1000)
    trace.launch(5, 100, name="cudaGraphLaunch")
    for start in (200, 300, 400):
        trace.kernel(5, start, 50)
    (phase,) = idle_of_file(trace.write(tmp_path / "t.json")).phases
    assert (phase.launches, phase.host_ns, phase.queue_ns) == (1, 200, 100)


def test_a_trace_without_device_events_has_no_idle_time(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 100)
    columns = read_trace(trace.write(tmp_path / "t.json"))
    assert idle_of(work_out(columns), account(work_out(columns), source="t").table) is None


Event = tuple[int, int, int | None, int, int]  # start, duration, launched at, stream, device

events = st.lists(
    st.tuples(
        st.integers(0, 300),
        st.integers(0, 60),
        st.one_of(st.none(), st.integers(0, 320)),
        st.integers(1, 3),
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=25,
)


def slow_reference(work: list[Event], first: int, last: int) -> tuple[Counter[str], int, int]:
    """Nanosecond by nanosecond: is any event of this device running; else who comes next, and why."""
    idle: Counter[str] = Counter()
    active = total = 0
    for device in {event[4] for event in work}:
        mine = [event for event in work if event[4] == device]
        for now in range(first, last):
            total += 1
            if any(start <= now < start + duration for start, duration, *_ in mine):
                active += 1
                continue
            later = [event for event in mine if event[0] > now]
            if not later:
                idle["unknown"] += 1
                continue
            following = min(later, key=lambda event: event[0])
            ended = max([first] + [e[0] + e[1] for e in mine if e[0] <= now])
            launched = following[2]
            if launched is None:
                idle["unknown"] += 1
            else:
                idle["host" if launched >= ended else "queue"] += 1
    return idle, active, total


@given(work=events, ranged=st.booleans())
@settings(max_examples=120, deadline=None)
def test_gaps_and_active_time_are_the_window(
    tmp_path_factory: pytest.TempPathFactory, work: list[Event], ranged: bool
) -> None:
    trace = TraceWriter()
    if ranged:
        trace.layer("generate", 100, 150)
        trace.layer("vision_model", 110, 60)
    for index, (start, duration, launched, stream, device) in enumerate(work):
        if launched is not None:
            trace.launch(index, launched)
        trace.kernel(index, start, duration, stream=stream, device=device)
    path = trace.write(tmp_path_factory.mktemp("t") / "t.json")
    columns = read_trace(path)
    table = account(work_out(columns), source="t").table
    idle = idle_of(work_out(columns), table)
    assert idle is not None
    assert idle.window_ns == table.whole.window_span_ns
    assert idle.active_ns == table.whole.device_active_ns
    assert idle.active_ns + idle.idle_ns == idle.window_ns * idle.devices
    assert sum(phase.span_ns for phase in idle.phases) == idle.window_ns * idle.devices
    assert sum(row.gaps for row in idle.rows) == sum(phase.gaps for phase in idle.phases)
    first = min([event[0] for event in work] + ([100] if ranged else []))
    seen, active, total = slow_reference(work, first, first + idle.window_ns)
    assert (idle.active_ns, idle.window_ns * idle.devices) == (active, total)
    assert sum(row.host_ns for row in idle.rows) == seen["host"]
    assert sum(row.queue_ns for row in idle.rows) == seen["queue"]
    assert sum(row.unknown_ns for row in idle.rows) == seen["unknown"]
    assert all(row.late_ns <= row.host_ns for row in idle.rows)


def test_the_xl_trace_waits_for_the_host_in_decode() -> None:
    columns = read_trace(shared("traces/xl_b16_eager_h200.trace.json.gz"))
    table = account(work_out(columns), source="b16").table
    began = time.process_time()
    idle = idle_of(work_out(columns), table)
    assert time.process_time() - began < 1
    assert idle is not None
    assert (idle.window_ns, idle.active_ns) == (1_011_501_593, 210_096_345)
    assert idle.active_ns + idle.idle_ns == idle.window_ns
    assert sum(phase.launches for phase in idle.phases) == 33_881
    verdicts = {phase.phase: phase.verdict for phase in idle.phases}
    assert verdicts["decode"] == "launch-bound"
    assert verdicts["encoder"] == "device-bound"
    decode = idle.phase("decode")
    assert decode is not None
    assert decode.active_ns == 98_151_930
    assert decode.idle_share == pytest.approx(0.879, abs=0.0005)
    assert decode.wall_per_launch_ns == pytest.approx(27_803, abs=1)
