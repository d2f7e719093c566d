"""Kinds over several traces: sums are the wholes, calls spread, what compiled code hides is blank."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.kineto import TraceWriter

from layerscope.account.kind_times import TracedTimes, kind_times, traced_times
from layerscope.core.errors import DataError
from layerscope.records.kinds import device_sums
from layerscope.records.run_record import ModuleRecord
from layerscope.report.kind_times import read_kinds_csv, write_kinds_csv
from layerscope.runs.examine import Beside, examine, workings_of

MODULES = tuple(
    ModuleRecord(fqn=f"b.{i}", cls="Block", group="other", params=1, dtype="float16")
    for i in range(2)
)


def a_trace(path: Path, *durations: int) -> TracedTimes:
    """Two blocks, called one after the other, each with one kernel of so many ns."""
    trace = TraceWriter()
    trace.layer("generate", 0, 10_000)
    for index, duration in enumerate(durations):
        trace.layer(f"b.{index % 2}", 1000 * index, 900)
        trace.launch(index, 1000 * index + 10)
        trace.kernel(index, 1000 * index + 50, duration)
    file = trace.write(path)
    beside = Beside(modules=MODULES)
    found = examine(workings_of(file, beside), file, beside)
    found.account.table.check()
    return traced_times(found.workings, found.account.table)


def test_times_by_kind_and_trace(tmp_path: Path) -> None:
    """100 + 300 ns, then 120 + 280 ns: one kind, 400 ns each time; a call took 100 to 300."""
    traced = [a_trace(tmp_path / "1.json", 100, 300), a_trace(tmp_path / "2.json", 120, 280)]
    found = kind_times(traced, MODULES)
    (blocks,) = [kind for kind in found if kind.kind == "b.*"]
    assert (blocks.layers, blocks.calls, blocks.batch_ns) == (2, 2, (400, 400))
    assert (blocks.call_min_ns, blocks.call_median_ns, blocks.call_max_ns) == (100, 120, 300)
    assert device_sums(found) == (400, 400)
    written = write_kinds_csv(found, tmp_path)
    assert read_kinds_csv(tmp_path / written["kinds"]) == found


def test_the_sums_are_the_wholes_whatever_ran_where(tmp_path: Path) -> None:
    traced = [a_trace(tmp_path / f"{n}.json", *([n + 1, 70] * (n + 1))) for n in range(3)]
    sums = device_sums(kind_times(traced, MODULES))
    assert sums == (71, 2 * 72, 3 * 73)


def test_what_only_a_later_trace_ran_stands_in_it_alone(tmp_path: Path) -> None:
    traced = [
        TracedTimes("device", {("a", "p"): 5}, {("a", "p"): 1}),
        TracedTimes("device", {("a", "p"): 6, ("b", "p"): 7}, {("a", "p"): 1, ("b", "p"): 1}),
    ]
    found = {kind.kind: kind for kind in kind_times(traced, ())}
    assert (found["a"].batch_ns, found["b"].batch_ns) == ((5, 6), (0, 7))
    assert (found["b"].layers, found["b"].call_min_ns) == (0, None)
    assert device_sums(tuple(found.values())) == (5, 13)


@pytest.mark.parametrize("text", ["", "kind,phase\na,b\n", "kind,phase,layers,calls,measure,trace_1_ns\n"
                                  "a,p,1,1,device,x\n"])  # fmt: skip
def test_another_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "kinds.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"kinds\.csv"):
        read_kinds_csv(tmp_path / "kinds.csv")
