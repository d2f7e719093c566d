"""The exported trace keeps Kineto's events and adds well-formed tracks, counted by hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from support.kineto import TraceWriter

from layerscope.account.account import work_out
from layerscope.report.perfetto import PROCESS, SUFFIX, Marked, write_perfetto
from layerscope.trace.columns import read_trace


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Window 0..1000 ns; the device works 200-300 (in `a`) and 700-750 (without a launch)."""
    trace = TraceWriter()
    trace.layer("generate", 0, 1000)
    trace.layer("a", 100, 300)
    trace.op("aten::mm", 150, 50)
    trace.launch(1, 160)
    trace.kernel(1, 200, 100, grid=[4, 1, 1])
    trace.kernel(None, 700, 50)
    trace.events.append(
        {
            "ph": "i",
            "s": "g",
            "name": "Record Window End",
            "pid": "",
            "tid": "",
            "ts": 2.0,
            "args": {},
        }
    )
    return trace.write(tmp_path / "t.json")


def exported(source: Path) -> tuple[Marked, dict[str, Any]]:
    path = source.with_name(f"t{SUFFIX}")
    marked = write_perfetto(source, work_out(read_trace(source)), path)
    with gzip.open(path) as file:
        return marked, json.load(file)


def test_kinetos_events_stand_first_as_they_were(source: Path) -> None:
    before = json.loads(source.read_text())
    _, after = exported(source)
    assert after["schemaVersion"] == 1
    count = len(before["traceEvents"])
    for old, new in zip(before["traceEvents"], after["traceEvents"][:count], strict=True):
        if old.get("cat") == "kernel":
            told = {name: new["args"].pop(name) for name in ("layer", "phase")}
            linked = old["args"].get("correlation") == 1
            assert told["layer"] == ("a" if linked else "(no launch record)")
        assert new == old
    assert json.loads(source.read_text()) == before


def test_added_tracks_by_hand(source: Path) -> None:
    marked, after = exported(source)
    own = [event for event in after["traceEvents"] if event.get("pid") == 2_000_000_000]
    names = {event["tid"]: event["args"]["name"] for event in own if event["name"] == "thread_name"}
    assert [e["args"]["name"] for e in own if e["name"] == "process_name"] == [PROCESS]
    slices = [
        (names[event["tid"]], event["name"], event["ts"], event["dur"])
        for event in own
        if event["ph"] == "X"
    ]
    assert slices == [
        ("host phases", "forward", 0.0, 1.0),
        ("host layers", "generate", 0.0, 1.0),
        ("host layers", "a", 0.1, 0.3),
        ("device 0 stream 7 phases", "forward", 0.2, 0.55),
        ("device 0 stream 7 layers", "a", 0.2, 0.1),
        ("device 0 stream 7 layers", "(no launch record)", 0.7, 0.05),
        ("device 0 idle", "waits for a", 0.0, 0.2),
        ("device 0 idle", "waits for (no launch record)", 0.3, 0.4),
        ("device 0 idle", "(nothing followed)", 0.75, 0.25),
    ]
    assert marked.tracks == {
        "host phases": 1,
        "host layers": 2,
        "device 0 stream 7 phases": 1,
        "device 0 stream 7 layers": 2,
        "device 0 idle": 3,
    }


def test_the_counter_of_idle_by_hand(source: Path) -> None:
    """One bucket, as the window is shorter than the least one: idle 850 of 1000 ns."""
    marked, after = exported(source)
    points = [event for event in after["traceEvents"] if event["ph"] == "C"]
    assert [(p["name"], p["ts"], p["args"]) for p in points] == [
        ("device 0", 0.0, {"idle %": 85.0})
    ]
    assert marked.points == 1


def test_the_documented_rules_of_the_format(source: Path) -> None:
    """Trace Event Format: phases, numbers in µs, thread names as metadata, slices that nest."""
    _, after = exported(source)
    rows: dict[tuple[Any, Any], list[tuple[float, float]]] = {}
    for event in after["traceEvents"]:
        assert event["ph"] in {"X", "M", "C", "i"}
        assert isinstance(event["name"], str)
        if event["ph"] == "X":
            assert isinstance(event["ts"], (int, float))
            assert event["dur"] >= 0
            row = rows.setdefault((event["pid"], event["tid"]), [])
            row.append((event["ts"], round(event["ts"] + event["dur"], 3)))
        if event["ph"] == "C":
            assert all(isinstance(value, (int, float)) for value in event["args"].values())
    for row in rows.values():
        for start, end in row:
            assert not any(start < other < end < last for other, last in row)
