"""What torch-tb-profiler's own parser makes of the derived file, against our account."""

from __future__ import annotations

import gzip
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kineto import TraceWriter

from layerscope.account.account import Workings, account, work_out
from layerscope.account.intervals import union_ns
from layerscope.core.errors import DataError, EnvironmentProblem
from layerscope.report.tb_profiler import DIRECT_LAUNCH, SUFFIX, write_tb_profiler
from layerscope.trace.columns import read_trace
from layerscope.trace.tree import NONE

pytest.importorskip("torch_tb_profiler", reason="torch-tb-profiler is not installed")

CallPath = tuple[str, ...]


def derive(trace: Path, classes: dict[str, str] | None = None) -> tuple[Workings, Path]:
    workings = work_out(read_trace(trace))
    out = trace.parent / f"w.1{SUFFIX}"
    write_tb_profiler(trace, workings, classes or {}, out)
    return workings, out


def events_of(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path) as file:
        found: list[dict[str, Any]] = json.load(file)["traceEvents"]
    return found


class Seen:
    """The plugin's views, by its own code: module statistics by call path, Overview, operators."""

    def __init__(self, path: Path, folder: Path) -> None:
        from torch_tb_profiler.profiler.data import RunProfileData
        from torch_tb_profiler.profiler.run_generator import RunGenerator

        logging.getLogger("torch_tb_profiler").setLevel(logging.CRITICAL)
        data = RunProfileData.parse("w", "1", str(path), str(folder))
        profile = RunGenerator("w", "1", data).generate_run_profile()
        self.modules: dict[CallPath, Any] = {}
        for root in profile.module_stats or ():
            self._walk(root, ())
        costs = data.avg_costs.costs
        self.device_active_us = costs[0] + costs[1] + costs[2]
        self.operators = {
            row["name"]: row.get("device_self_duration")
            for row in profile.operation_table_by_name["data"]
        }

    def _walk(self, stats: Any, above: CallPath) -> None:
        path = (*above, stats.name.strip().split(" (")[0])
        assert path not in self.modules, f"{path} is listed twice"
        self.modules[path] = stats
        for child in stats.children:
            self._walk(child, path)


def paths_of(workings: Workings) -> list[CallPath]:
    paths: list[CallPath] = []
    for item in workings.ranges.items:
        above = paths[item.above] if item.above != NONE else ()
        paths.append((*above, item.layer))
    return paths


def ours(workings: Workings) -> tuple[Counter[CallPath], Counter[CallPath], Counter[CallPath]]:
    """Calls, own and total device ns of each call path."""
    paths = paths_of(workings)
    calls, own, total = Counter(paths), Counter[CallPath](), Counter[CallPath]()
    durations = workings.columns.device.dur_ns.tolist()
    for span, duration in zip(workings.links.layer.tolist(), durations, strict=True):
        if span == NONE:
            continue
        path = paths[workings.ranges.of_span[span]]
        own[path] += duration
        for depth in range(1, len(path) + 1):
            total[path[:depth]] += duration
    return calls, own, total


def assert_equal(workings: Workings, seen: Seen) -> None:
    calls, own, total = ours(workings)
    assert set(seen.modules) == set(calls)
    for path, stats in seen.modules.items():
        assert stats.occurences == calls[path], path
        assert stats.device_duration == pytest.approx(total[path] / 1000, abs=1e-3), path
        assert stats.self_device_duration == pytest.approx(own[path] / 1000, abs=1e-3), path


@pytest.fixture
def by_hand(tmp_path: Path) -> Path:
    """Two steps of `block` under `generate`; kernels of 10, 20, 40 and 80 µs.

    10: launched by aten::mm in block.lin, first call, through the driver. 20: launched by block
    itself. 40: aten::mm in block.lin, second call. 80: no launch record. block.extra runs in the
    second call alone, so the plugin would list `block` twice if told of every call.
    """
    trace = TraceWriter()
    trace.layer("generate", 0, 1_000_000)
    trace.layer("block", 10_000, 200_000)
    trace.layer("block.lin", 20_000, 80_000)
    trace.op("aten::linear", 25_000, 60_000)
    trace.op("aten::mm", 30_000, 50_000)
    trace.launch(7, 40_000, driver=True)
    trace.launch(8, 150_000)
    trace.layer("block", 300_000, 200_000)
    trace.layer("block.lin", 310_000, 80_000)
    trace.op("aten::mm", 330_000, 50_000)
    trace.launch(9, 340_000)
    trace.layer("block.extra", 400_000, 10_000)
    trace.op("aten::view", 401_000, 1_000)
    trace.kernel(7, 60_000, 10_000, name="gemm")
    trace.kernel(8, 160_000, 20_000, name="fill")
    trace.kernel(9, 350_000, 40_000, name="gemm")
    trace.kernel(None, 600_000, 80_000, name="graphed")
    trace.events[-1]["args"]["bytes"] = 12
    return trace.write(tmp_path / "t.json")


def test_hand_counted_views(by_hand: Path, tmp_path: Path) -> None:
    workings, out = derive(by_hand, {"block.lin": "Linear"})
    seen = Seen(out, tmp_path)
    times = {
        path[-1]: (stats.occurences, stats.device_duration, stats.self_device_duration)
        for path, stats in seen.modules.items()
    }
    assert times == {
        "generate": (1, 70, 0),
        "block": (2, 70, 20),
        "block.lin": (2, 50, 50),
        "block.extra": (1, 0, 0),
    }
    assert seen.device_active_us == 150  # the kernel without a launch record included
    assert seen.operators["aten::mm"] == 50
    assert seen.operators[DIRECT_LAUNCH] == 20
    assert seen.modules["generate", "block", "block.lin"].name.strip() == "block.lin (Linear)"
    assert_equal(workings, seen)


def test_the_source_is_left_alone_and_arguments_stay(by_hand: Path) -> None:
    before = by_hand.read_bytes()
    _, out = derive(by_hand)
    assert by_hand.read_bytes() == before
    events = events_of(out)
    assert not any(str(event["name"]).startswith("layer:") for event in events)
    kinds = {"user_annotation", "python_function", "cpu_op", "runtime", "kernel"}
    assert {event["cat"] for event in events} == kinds  # the annotation is the step
    (graphed,) = [event for event in events if event["name"] == "graphed"]
    assert graphed["args"]["bytes"] == 12
    assert graphed["dur"] == 80.0
    # What the plugin appends to the file must fall into the list of events.
    text = gzip.decompress(out.read_bytes())
    assert text.rstrip().endswith(b"]}")


def test_the_clock_moves_whole_and_its_base_with_it(tmp_path: Path) -> None:
    zero = 1_700_000_000_123_456_789  # epoch ns: a float of it in µs would miss single ns
    trace = TraceWriter()
    trace.layer("generate", 1, 1_000)
    trace.kernel(None, 12, 7)
    text = trace.write(tmp_path / "t.json").read_text()
    text = text.replace('"ts": 0.001', '"ts": 1700000000123456.789')
    source = tmp_path / "epoch.json"
    source.write_text(text.replace('"ts": 0.012', '"ts": 1700000000123456.800'))
    _, out = derive(source)
    with gzip.open(out) as file:
        whole = json.load(file)
    _, first, second = whole["traceEvents"]
    assert round(second["ts"] * 1000) - round(first["ts"] * 1000) == 11
    assert whole["baseTimeNanoseconds"] + round(first["ts"] * 1000) == zero
    assert second["dur"] == 0.007


def test_an_operator_in_an_operator_of_its_name_keeps_its_launches(tmp_path: Path) -> None:
    """The plugin merges the two and drops what the outer one launched itself."""
    trace = TraceWriter()
    trace.layer("generate", 0, 100_000)
    trace.op("aten::add", 10_000, 50_000)
    trace.launch(1, 11_000)
    trace.op("aten::add", 20_000, 20_000)
    trace.launch(2, 25_000)
    trace.kernel(1, 30_000, 5_000)
    trace.kernel(2, 36_000, 3_000)
    workings, out = derive(trace.write(tmp_path / "t.json"))
    seen = Seen(out, tmp_path)
    assert seen.operators["aten::add"] == 8
    assert_equal(workings, seen)


def test_operators_around_layers_do_not_swallow_them(tmp_path: Path) -> None:
    """A phase or a compiled region around layers: its time is theirs, not the outer module's own."""
    trace = TraceWriter()
    trace.layer("forward", 0, 100_000)
    trace.op("phase:first", 1_000, 90_000)
    trace.launch(1, 2_000)
    trace.layer("a", 10_000, 50_000)
    trace.op("aten::mm", 11_000, 5_000)
    trace.launch(2, 12_000)
    trace.kernel(1, 30_000, 5_000)
    trace.kernel(2, 36_000, 3_000)
    workings, out = derive(trace.write(tmp_path / "t.json"))
    seen = Seen(out, tmp_path)
    assert seen.modules["forward",].self_device_duration == 5
    assert seen.modules["forward", "a"].self_device_duration == 3
    assert_equal(workings, seen)


def test_a_module_called_from_two_places_has_two_lines(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 100_000)
    for index, (layer, start) in enumerate([("a", 1_000), ("b", 40_000)]):
        trace.layer(layer, start, 20_000)
        trace.layer("shared", start + 1_000, 10_000)
        trace.op("aten::mm", start + 2_000, 5_000)
        trace.launch(index, start + 3_000)
        trace.kernel(index, start + 4_000, 1_000 * (index + 1))
    workings, out = derive(trace.write(tmp_path / "t.json"))
    seen = Seen(out, tmp_path)
    assert seen.modules["forward", "a", "shared"].device_duration == 1
    assert seen.modules["forward", "b", "shared"].device_duration == 2
    assert_equal(workings, seen)


def test_a_trace_without_layers_keeps_its_annotations_and_its_python_events(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace._add("outer", "user_annotation", 0, 90_000, 100, 1)
    trace._add("ProfilerStep#3", "user_annotation", 500, 80_000, 100, 1)
    trace._add(
        "nn.Module: Net_0", "python_function", 600, 70_000, 100, 1,
        **{"Python id": 1, "Python parent id": None, "Python module id": 0},
    )  # fmt: skip
    trace.op("aten::mm", 1_000, 5_000)
    trace.launch(1, 2_000)
    trace.launch(2, 20_000)  # in the step, outside any operator
    trace.kernel(1, 30_000, 5_000)
    trace.kernel(2, 36_000, 3_000)
    _, out = derive(trace.write(tmp_path / "t.json"))
    kinds = Counter(event["cat"] for event in events_of(out))
    assert kinds == {
        "user_annotation": 2, "python_function": 1, "cpu_op": 1, "runtime": 2, "kernel": 2
    }  # fmt: skip
    seen = Seen(out, tmp_path)
    assert seen.modules["Net_0",].device_duration == 5
    assert seen.device_active_us == 8


def test_launches_that_touch_are_both_kept(tmp_path: Path) -> None:
    # 0.008 + 0.001 is more than 0.009 in floats once the clock's zero is added.
    trace = TraceWriter()
    trace.layer("generate", 0, 10)
    trace.launch(5, 9)
    trace.kernel(5, 9, 2)
    trace.launch(6, 8)
    workings, out = derive(trace.write(tmp_path / "t.json"))
    seen = Seen(out, tmp_path)
    assert seen.modules["generate",].device_duration == pytest.approx(0.002, abs=1e-6)
    assert_equal(workings, seen)


def test_a_damaged_trace_leaves_no_file(by_hand: Path) -> None:
    workings = work_out(read_trace(by_hand))
    cut = by_hand.with_name("cut.json")
    cut.write_bytes(by_hand.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"cut\.json"):
        write_tb_profiler(cut, workings, {}, by_hand.with_name(f"x.1{SUFFIX}"))
    assert sorted(path.name for path in by_hand.parent.iterdir()) == ["cut.json", "t.json"]


def test_a_folder_that_is_not_there_is_said_in_one_line(by_hand: Path) -> None:
    workings = work_out(read_trace(by_hand))
    with pytest.raises(EnvironmentProblem, match="--out"):
        write_tb_profiler(by_hand, workings, {}, by_hand.parent / "no" / f"x.1{SUFFIX}")


# ---- any trace --------------------------------------------------------------------------------------


def nested(
    draw: st.DrawFn, start: int, end: int, depth: int, inside_op: bool
) -> Iterator[tuple[bool, str, int, int]]:
    """Layers and operators in [start, end); ends and starts may coincide."""
    at = start
    for index in range(draw(st.integers(0, 3))):
        if end - at < 2:
            return
        begin = draw(st.sampled_from([at, (at + end) // 2]))
        stop = draw(st.sampled_from([end, (begin + end + 1) // 2]))
        if stop <= begin:
            return
        layer = not inside_op and draw(st.booleans())
        # Rarely an operator around layers; names repeat, so that operators meet their namesakes.
        through = layer or draw(st.integers(0, 9)) == 0
        yield layer, draw(st.sampled_from(["a", "b", "c"])) if layer else f"op{index}", begin, stop
        if depth < 4:
            yield from nested(draw, begin, stop, depth + 1, inside_op or not through)
        at = stop


@st.composite
def traces(draw: st.DrawFn) -> TraceWriter:
    trace = TraceWriter()
    zero = draw(st.sampled_from([0, 4_614_274_607_850_285]))
    end = draw(st.integers(10, 100_000))
    trace.layer("generate", zero, end)
    for layer, name, start, stop in nested(draw, 0, end, 0, False):
        (trace.layer if layer else trace.op)(name, zero + start, stop - start)
    for number in range(draw(st.integers(0, 12))):
        at = draw(st.integers(0, end + 10))
        if draw(st.integers(0, 5)):
            trace.launch(
                number, zero + at, driver=draw(st.booleans()), external=draw(st.integers(0, 9))
            )
        for _ in range(draw(st.integers(0, 2))):  # a graph's launch has several kernels
            trace.kernel(number, zero + at + draw(st.integers(0, 500)), draw(st.integers(0, 10**6)))
    return trace


@given(trace=traces())
@settings(max_examples=100, deadline=None)
def test_the_plugin_counts_what_we_count_on_any_trace(
    tmp_path_factory: pytest.TempPathFactory, trace: TraceWriter
) -> None:
    folder = tmp_path_factory.mktemp("t")
    workings, out = derive(trace.write(folder / "t.json"))
    seen = Seen(out, folder)
    assert_equal(workings, seen)
    device = workings.columns.device
    table = account(workings, source="t").table
    table.check()
    if (workings.links.launch != NONE).all():  # else the plugin's step begins after early ones
        active = union_ns(device.start_ns, device.start_ns + device.dur_ns)
        assert seen.device_active_us == pytest.approx(active / 1000, abs=1e-2)
