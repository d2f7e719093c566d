"""Launches that name the wrong thread: each goes where the operator that made it ran."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.kineto import TraceWriter

from layerscope.account.account import account_of

# Three threads that each call a copy of one model, recorded on an H200.
RECORDED = Path(__file__).parent / "data" / "three_threads_h200.trace.json.gz"


def device_self(path: Path) -> dict[str, int]:
    account = account_of(path)
    account.table.check()
    total: Counter[str] = Counter()
    for row in account.table.rows:
        total[row.layer] += row.gpu_self_ns or 0
    return dict(+total)


def a_request(writer: TraceWriter, number: int, at: int, tid: int, launched_from: int) -> None:
    """One layer with a product and its launch, and a launch without an operator behind it."""
    writer.layer("forward", at, 1000, tid=tid)
    writer.layer(f"layer_{number}", at + 10, 500, tid=tid)
    writer._add("aten::mm", "cpu_op", at + 20, 100, 100, tid, **{"External id": 10 + number})
    writer.launch(2 * number, at + 30, tid=launched_from, external=10 + number)
    writer.launch(2 * number + 1, at + 300, tid=launched_from, driver=True)
    writer.kernel(2 * number, at + 5000, 7 + number)
    writer.kernel(2 * number + 1, at + 6000, 100 + number)


def test_a_thread_that_has_an_ended_one_s_number_keeps_its_layers(tmp_path: Path) -> None:
    writer = TraceWriter()
    a_request(writer, 0, 0, tid=1, launched_from=1)
    a_request(writer, 1, 10_000, tid=2, launched_from=1)  # the same address, named after thread 1
    a_request(writer, 2, 20_000, tid=3, launched_from=9)  # named after one of another window
    assert device_self(writer.write(tmp_path / "t.json")) == {
        "layer_0": 107, "layer_1": 109, "layer_2": 111,
    }  # fmt: skip


def test_two_at_once_under_one_number_are_told_apart_by_their_operators(tmp_path: Path) -> None:
    writer = TraceWriter()
    for number, at, tid in ((0, 0, 1), (1, 150, 2)):
        writer.layer(f"layer_{number}", at, 100 + 200 * (1 - number), tid=tid)
        writer._add("aten::mm", "cpu_op", at + 5, 60, 100, tid, **{"External id": number})
        writer.launch(number, at + 6, tid=1, external=number)
        writer.kernel(number, 5000 + at, 7 + number)
    assert device_self(writer.write(tmp_path / "t.json")) == {"layer_0": 7, "layer_1": 8}


def test_an_id_of_another_process_moves_nothing(tmp_path: Path) -> None:
    writer = TraceWriter()
    writer.layer("mine", 0, 100, tid=1)
    writer.layer("theirs", 0, 100, tid=1, pid=200)
    writer._add("aten::mm", "cpu_op", 10, 50, 200, 1, **{"External id": 5})
    writer.launch(1, 20, tid=1, external=5)
    writer.kernel(1, 5000, 7)
    assert device_self(writer.write(tmp_path / "t.json")) == {"mine": 7}


def _relabelled(names: dict[int, int]) -> dict[str, Any]:
    """The recorded trace with the launches of each thread under another thread's number."""
    trace: dict[str, Any] = json.loads(gzip.decompress(RECORDED.read_bytes()))
    for event in trace["traceEvents"]:
        if event.get("cat") in ("cuda_runtime", "cuda_driver"):
            event["tid"] = names.get(event["tid"], event["tid"])
    return trace


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from((4303, 4304, 4305, 17, 18)), min_size=3, max_size=3))
def test_no_number_of_a_recorded_launch_changes_the_account(
    tmp_path_factory: Any, others: list[int]
) -> None:
    threads = dict(zip((4303, 4304, 4305), others, strict=True))
    path = tmp_path_factory.mktemp("relabelled") / "trace.json"
    path.write_text(json.dumps(_relabelled(threads)), encoding="utf-8")
    found = device_self(path)
    assert found == device_self(RECORDED)
    assert {layer.split(".")[1] for layer in found if layer.startswith("copies.")} == {
        "0",
        "1",
        "2",
    }
