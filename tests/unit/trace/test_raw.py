"""Raw events are the reader's rows, byte for byte, and cost a block of memory whatever the file."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import msgspec
import pytest
from support.kineto import TraceWriter

from layerscope.core.errors import DataError
from layerscope.trace.columns import read_trace
from layerscope.trace.raw import RawTrace, raw_us, time_ns


def mixed(count: int = 1) -> TraceWriter:
    trace = TraceWriter()
    for number in range(count):
        at = number * 100_000
        trace.op(f"aten::mm{number % 3}", at, 90_000)
        trace._add("note", "user_annotation", at + 1, 5, 100, 1)
        trace.launch(number, at + 10, driver=number % 2 == 1)
        trace._add("cudaEventQuery", "cuda_runtime", at + 20, 5, 100, 1)  # no correlation
        trace._add("gpu note", "gpu_user_annotation", at + 20, 5, 0, 7)
        trace.kernel(number, at + 30, 7, grid=[1, 2, 3])
    trace.events.append({"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "p"}})
    return trace


@pytest.mark.parametrize("kineto", [True, False])
@pytest.mark.parametrize("block", [61, 4096])
def test_rows_are_the_readers_rows(tmp_path: Path, kineto: bool, block: int) -> None:
    path = mixed(20).write(tmp_path / "t.json", kineto=kineto)
    columns = read_trace(path)
    starts = {
        "span": columns.spans.start_ns.tolist(),
        "launch": columns.launches.start_ns.tolist(),
        "device": columns.device.start_ns.tolist(),
    }
    seen: dict[str, list[int]] = {"span": [], "launch": [], "device": []}
    others = 0
    for event in RawTrace(path, block).events():
        if event.role == "other":
            others += 1
            continue
        assert event.row == len(seen[event.role])
        seen[event.role].append(time_ns(event.fields["ts"]))
    assert seen == starts
    assert others == 2 * 20 + 1


def test_values_are_the_files_own_bytes(tmp_path: Path) -> None:
    text = (
        '{"zeta":1,"traceEvents":[{"ph":"X","cat":"kernel","name":"k\\u00e9","ts":1.50,"dur":2e1,'
        '"pid":0,"tid":7,"args":{"correlation":  9,"x":1.10}}]}'
    )
    path = tmp_path / "t.json"
    path.write_text(text)
    raw = RawTrace(path)
    (event,) = raw.events()
    assert raw.metadata == {"zeta": 1}
    written = {name: bytes(value) for name, value in event.fields.items()}
    assert (written["ts"], written["dur"], written["name"]) == (b"1.50", b"2e1", b'"k\\u00e9"')
    assert bytes(event.args["x"]) == b"1.10"


@pytest.mark.parametrize(
    ("text", "ns"), [(b"1.5", 1500), (b'"2.001"', 2001), (b"1e3", 1_000_000), (b"-0.004", -4)]
)
def test_times(text: bytes, ns: int) -> None:
    assert time_ns(msgspec.Raw(text)) == ns
    assert time_ns(raw_us(ns)) == ns
    assert json.loads(bytes(raw_us(ns))) == ns / 1000


def test_a_cut_file_is_said_to_be_cut(tmp_path: Path) -> None:
    path = mixed(50).write(tmp_path / "t.json")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match="the file ends inside"):
        list(RawTrace(path, 2048).events())


def test_memory_follows_the_block_and_not_the_file(tmp_path: Path) -> None:
    peaks = []
    for count in (300, 3000):
        path = mixed(count).write(tmp_path / f"{count}.json")
        tracemalloc.start()
        for _ in RawTrace(path, 1 << 15).events():
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
