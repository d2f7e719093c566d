"""The account of small traces whose answer is on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kineto import TraceWriter

from layerscope.account.account import account_of
from layerscope.account.intervals import union_ns
from layerscope.records import LayerRow, LayerTable
from layerscope.records.tables import Account


def instructblip(steps: int = 3) -> TraceWriter:
    """One generate(): 100 ns of each part, a kernel of 10 ns launched in every range."""
    w = TraceWriter()
    at = 20
    correlation = 0

    def part(fqn: str, start: int, dur: int, gpu: int) -> None:
        nonlocal correlation
        correlation += 1
        w.layer(fqn, start, dur)
        w.launch(correlation, start + 1)
        w.kernel(correlation, 10_000 + 100 * correlation, gpu)

    end = 400 + 100 * steps + 70
    part("generate", 0, end, 7)
    for fqn in ("vision_model", "qformer", "language_projection", "language_model.encoder"):
        part(fqn, at, 100, 10)
        at += 100
    for _ in range(steps):
        part("language_model", at, 90, 3)
        part("language_model.decoder", at + 10, 50, 5)
        part("language_model.lm_head", at + 70, 10, 2)
        at += 100
    return w


def read(writer: TraceWriter, tmp_path: Path) -> Account:
    return account_of(writer.write(tmp_path / "t.json"))


def row(table: LayerTable, layer: str, phase: str) -> LayerRow:
    return next(r for r in table.rows if (r.layer, r.phase) == (layer, phase))


def test_phases_steps_and_totals(tmp_path: Path) -> None:
    account = read(instructblip(3), tmp_path)
    table = account.table
    table.check()
    assert row(table, "generate", "other").gpu_self_ns == 7
    assert row(table, "generate", "vision").gpu_total_ns == 10
    assert row(table, "language_model", "prefill").gpu_self_ns == 3
    assert row(table, "language_model", "prefill").gpu_total_ns == 10
    assert row(table, "language_model.decoder", "decode").gpu_self_ns == 10
    assert row(table, "language_model.decoder", "decode").calls == 2
    assert row(table, "language_model", "decode").gpu_total_ns == 20
    assert row(table, "language_model", "encoder").calls == 0
    assert row(table, "language_model", "encoder").gpu_total_ns == 10
    # 90 ns of wall minus the decoder's 50 and the head's 10.
    assert row(table, "language_model", "prefill").cpu_self_ns == 30
    # 770 ns of generate minus four parts of 100 and three steps of 90.
    assert row(table, "generate", "other").cpu_self_ns == 100
    assert [(s.step, s.phase, s.gpu_ns, s.cpu_ns, s.kernels) for s in account.steps] == [
        (0, "prefill", 10, 90, 3),
        (1, "decode", 10, 90, 3),
        (2, "decode", 10, 90, 3),
    ]
    assert sum(r.gpu_total_ns or 0 for r in table.rows if r.layer == "generate") == 77


def test_two_batches_start_over_with_prefill(tmp_path: Path) -> None:
    writer = instructblip(2)
    second = instructblip(2)
    for event in second.events:
        event["ts"] += 50.0
        if "correlation" in event["args"]:
            event["args"]["correlation"] += 1000
    writer.events += second.events
    account = read(writer, tmp_path)
    account.table.check()
    assert row(account.table, "language_model", "prefill").calls == 2
    assert row(account.table, "generate", "other").calls == 2
    assert [s.phase for s in account.steps] == ["prefill", "decode", "prefill", "decode"]
    assert row(account.table, "(outside model)", "other").cpu_self_ns == 50_000 - 670


def test_driver_launches_count_and_lost_launches_have_names(tmp_path: Path) -> None:
    w = TraceWriter()
    w.layer("forward", 1000, 1000)
    w.layer("a", 1100, 100)
    w.launch(1, 1150, driver=True)
    w.kernel(1, 3000, 11, name="triton")
    w.kernel(2, 3100, 13)  # nobody launched it, and it began inside the window
    w.kernel(3, 500, 17)  # it was running when the window opened
    w.launch(4, 2500)
    w.kernel(4, 3200, 19)  # launched after the last range
    w.kernel(None, 3300, 23)  # carries no correlation id
    table = read(w, tmp_path).table
    table.check()
    assert {r.layer: r.gpu_self_ns for r in table.rows} == {
        "forward": 0,
        "a": 11,
        "(outside model)": 19,
        "(no launch record)": 36,
        "(before window)": 17,
    }
    assert {r.phase for r in table.rows} == {"forward"}


def test_a_span_that_ends_too_late_is_clamped_and_counted(tmp_path: Path) -> None:
    w = TraceWriter()
    w.layer("forward", 0, 100)
    w.layer("a", 50, 80)  # ends 30 ns after its parent
    w.layer("b", 60, 10)
    table = read(w, tmp_path).table
    table.check()
    assert {r.layer: r.cpu_self_ns for r in table.rows} == {"forward": 50, "a": 50 - 10, "b": 10}
    assert any("clamped" in warning for warning in table.warnings)


def test_host_time_is_the_calling_threads_and_device_time_is_everybodys(tmp_path: Path) -> None:
    w = TraceWriter()
    w.layer("forward", 0, 1000)
    w.layer("a", 100, 100)
    w.layer("a", 100, 500, tid=2)
    w.launch(1, 300, tid=2)
    w.kernel(1, 2000, 40)
    table = read(w, tmp_path).table
    table.check()
    assert row(table, "a", "forward").cpu_self_ns == 100
    assert row(table, "a", "forward").gpu_self_ns == 40
    assert row(table, "a", "forward").calls == 2
    assert any("2 threads" in warning for warning in table.warnings)


def test_operators_belong_to_the_layer_around_them(tmp_path: Path) -> None:
    w = TraceWriter()
    w.layer("forward", 0, 1000)
    w.layer("a", 100, 400)
    w.op("aten::linear", 150, 200)
    w.op("aten::addmm", 200, 100)
    w.op("aten::relu", 700, 50)
    account = read(w, tmp_path)
    found = {(o.operator, o.layer): (o.calls, o.self_ns, o.total_ns) for o in account.operators}
    assert found == {
        ("aten::linear", "a"): (1, 100, 200),
        ("aten::addmm", "a"): (1, 100, 100),
        ("aten::relu", "forward"): (1, 50, 50),
    }
    assert row(account.table, "a", "forward").op_self_ns == 200
    # Operators are part of the range's own host time, not children of it.
    assert row(account.table, "a", "forward").cpu_self_ns == 400


def test_marked_phases_split_a_foreign_model(tmp_path: Path) -> None:
    w = TraceWriter()
    w.op("phase:first", 0, 100)
    w.layer("forward", 10, 50)
    w.op("phase:second", 200, 100)
    w.layer("forward", 210, 60)
    table = read(w, tmp_path).table
    table.check()
    assert row(table, "forward", "first").cpu_self_ns == 50
    assert row(table, "forward", "second").cpu_self_ns == 60


def test_forward_inside_generate_is_the_same_root(tmp_path: Path) -> None:
    w = TraceWriter()
    w.layer("generate", 0, 1000)
    w.layer("forward", 100, 300)
    w.layer("lm_head", 200, 50)
    table = read(w, tmp_path).table
    table.check()
    root = row(table, "generate", "forward")
    assert (root.calls, root.cpu_self_ns, root.cpu_total_ns) == (1, 950, 1000)


def test_two_processes_may_use_one_correlation_id(tmp_path: Path) -> None:
    w = TraceWriter()
    for pid, fqn in ((100, "a"), (200, "b")):
        w.layer("forward", 0, 1000, pid=pid)
        w.layer(fqn, 100, 100, pid=pid)
        w.launch(5, 150, pid=pid, external=pid)
    w.kernel(5, 2000, 30, **{"External id": 200})
    w.kernel(5, 2000, 40, **{"External id": 100}, device=1)
    table = read(w, tmp_path).table
    table.check()
    assert row(table, "b", "forward").gpu_self_ns == 30
    assert row(table, "a", "forward").gpu_self_ns == 40
    assert any("between processes" in warning for warning in table.warnings)


def test_launches_without_device_events_are_said(tmp_path: Path) -> None:
    w = TraceWriter()
    w.layer("forward", 0, 100)
    w.launch(1, 10)
    table = read(w, tmp_path).table
    table.check()
    assert table.whole.device_sum_ns is None
    assert row(table, "forward", "forward").gpu_self_ns is None
    assert any("CUPTI" in warning for warning in table.warnings)


def test_overlapping_streams_count_once_as_active(tmp_path: Path) -> None:
    w = TraceWriter()
    w.layer("forward", 0, 100)
    for index, (start, dur) in enumerate([(10, 50), (30, 10), (40, 60), (200, 5)]):
        w.launch(index, 5)
        w.kernel(index, start, dur, stream=index)
    whole = read(w, tmp_path).table.whole
    assert (whole.device_sum_ns, whole.device_active_ns, whole.window_span_ns) == (125, 95, 205)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=12))
def test_union_equals_counting_every_instant(intervals: list[tuple[int, int]]) -> None:
    starts = np.array([s for s, _ in intervals], np.int64)
    ends = np.array([s + d for s, d in intervals], np.int64)
    covered = {t for s, d in intervals for t in range(s, s + d)}
    assert union_ns(starts, ends) == len(covered)


def test_check_names_what_is_wrong(tmp_path: Path) -> None:
    from dataclasses import replace

    from layerscope.core.errors import AccountingError

    table = read(instructblip(), tmp_path).table
    stolen = replace(table.rows[3], gpu_self_ns=(table.rows[3].gpu_self_ns or 0) + 1)
    broken = replace(table, rows=(*table.rows[:3], stolen, *table.rows[4:]))
    with pytest.raises(AccountingError, match="device time: rows minus trace = 1 ns"):
        broken.check()
    missing = replace(table, rows=tuple(r for r in table.rows if r.layer != "qformer"))
    assert any("device events" in failure for failure in missing.failures())
    calls = replace(table, expected_calls={"vision_model": 2})
    assert calls.failures() == ("vision_model: 1 calls, the structure demands 2",)
    flops = replace(table, whole=replace(table.whole, flops=5))
    assert flops.failures() == ("FLOPs: rows minus counter = -5",)
