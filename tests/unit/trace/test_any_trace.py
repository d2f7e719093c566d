"""Traces that layerscope did not write: every container, layout, clock, id and vendor, by hand."""

from __future__ import annotations

import gzip
import json
import random
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.kineto import TraceWriter

from layerscope.account.account import account_of, work_out
from layerscope.core.errors import DataError
from layerscope.records.tables import Account
from layerscope.trace.columns import read_trace
from layerscope.trace.layer_source import find_layers


def device_self(account: Account) -> dict[str, int]:
    account.table.check()
    total: Counter[str] = Counter()
    for row in account.table.rows:
        total[row.layer] += row.gpu_self_ns or 0
    return dict(+total)


def host_self(account: Account) -> dict[str, int]:
    account.table.check()
    total: Counter[str] = Counter()
    for row in account.table.rows:
        total[row.layer] += row.cpu_self_ns or 0
    return dict(+total)


def python(writer: TraceWriter, name: str, start: int, dur: int, tid: int = 1) -> None:
    writer._add(name, "python_function", start, dur, 100, tid)


def annotation(writer: TraceWriter, name: str, start: int, dur: int, tid: int = 1) -> None:
    writer._add(name, "user_annotation", start, dur, 100, tid)


def layered(*sources: str) -> TraceWriter:
    """One operator, one launch at 40 and 15 ns of device work under the sources asked for."""
    writer = TraceWriter()
    if "annotations" in sources:
        annotation(writer, "ProfilerStep#3", 0, 1000)
        annotation(writer, "encode", 10, 500)
        annotation(writer, "inner", 20, 100)
    writer.op("aten::mm", 30, 50)
    writer.launch(1, 40)
    writer.kernel(1, 2000, 15)
    # Python events come last in Kineto's file, and the module's interval may equal the operator's.
    if "modules" in sources:
        python(writer, "torch/nn/modules/module.py(1): _call_impl", 5, 600)
        python(writer, "nn.Module: Block_0", 6, 590)
        python(writer, "nn.Module: Linear_3", 30, 50)
    if "ranges" in sources:
        writer.layer("blocks.0.fc", 31, 40)
    return writer


@pytest.mark.parametrize(
    ("sources", "source", "layer"),
    [
        (("ranges", "modules", "annotations"), "ranges", "blocks.0.fc"),
        (("modules", "annotations"), "modules", "Block_0.Linear_3"),
        (("annotations",), "annotations", "encode.inner"),
        ((), "operators", "aten::mm"),
    ],
)
def test_layers_come_from_the_first_source_the_trace_has(
    tmp_path: Path, sources: tuple[str, ...], source: str, layer: str
) -> None:
    account = account_of(layered(*sources).write(tmp_path / "t.json"))
    assert account.layer_source == source
    assert device_self(account) == {layer: 15}


def test_the_hosts_time_of_modules_by_hand(tmp_path: Path) -> None:
    # Block_0 590 ns, of which Linear_3 50.
    account = account_of(layered("modules").write(tmp_path / "t.json"))
    assert host_self(account) == {"Block_0": 540, "Block_0.Linear_3": 50}


def test_the_hosts_time_of_annotations_by_hand(tmp_path: Path) -> None:
    # The profiler's own step mark is no layer, so the window is the user's 500 ns.
    account = account_of(layered("annotations").write(tmp_path / "t.json"))
    assert host_self(account) == {"encode": 400, "encode.inner": 100}


def test_marks_of_torch_alone_are_no_layers(tmp_path: Path) -> None:
    writer = TraceWriter()
    for name in ("ProfilerStep#0", "Optimizer.step#Adam.step", "nccl:all_reduce"):
        annotation(writer, name, 0, 100)
    writer.op("aten::add", 10, 20)
    account = account_of(writer.write(tmp_path / "t.json"))
    assert account.layer_source == "operators"
    assert host_self(account) == {"aten::add": 20}
    assert [row.op_self_ns for row in account.table.rows if row.calls] == [20]


def test_names_cannot_pass_for_buckets_or_make_up_layers(tmp_path: Path) -> None:
    writer = TraceWriter()
    annotation(writer, "(outside model)", 0, 10)
    annotation(writer, "load v1.2 #3", 10, 10)
    annotation(writer, "encoder", 20, 10)
    annotation(writer, "encoder.layer", 22, 5)  # already a path: not encoder.encoder.layer
    account = account_of(writer.write(tmp_path / "t.json"))
    assert host_self(account) == {
        "range (outside model)": 10,
        "load v1:2 #3": 10,
        "encoder": 5,
        "encoder.layer": 5,
    }


def test_endless_nesting_is_counted_in_the_deepest_layer_kept(tmp_path: Path) -> None:
    writer = TraceWriter()
    for depth in range(500):
        annotation(writer, "again", depth, 2000 - 2 * depth)
    account = account_of(writer.write(tmp_path / "t.json"))
    assert sum(host_self(account).values()) == 2000
    assert max(row.depth for row in account.table.rows) == 64


def sample() -> list[dict[str, Any]]:
    writer = TraceWriter()
    for i in range(30):
        writer.layer(f"b.{i % 3}", 1000 * i, 900)
        writer.op("aten::mm", 1000 * i + 10, 100)
        writer.launch(i, 1000 * i + 20)
        writer.kernel(i, 1000 * i + 500, 100 + i, stream=7 + i % 2)
    return writer.events


EXPECTED = {f"b.{j}": sum(100 + i for i in range(j, 30, 3)) for j in range(3)}


def as_kineto(events: list[dict[str, Any]]) -> bytes:
    return json.dumps({"schemaVersion": 1, "traceEvents": events}, indent=2).encode()


def packed(how: str, events: list[dict[str, Any]], path: Path) -> Path:
    data = as_kineto(events)
    if how == "plain":
        path.write_bytes(data)
    elif how == "gzip":
        path.write_bytes(gzip.compress(data))
    elif how == "two gzip members":
        path.write_bytes(gzip.compress(data[:1000]) + gzip.compress(data[1000:]))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.mkdir("a")
            inner = gzip.compress(data) if how == "zip of gzip" else data
            archive.writestr("a/trace.json", inner)
    return path


@pytest.mark.parametrize("how", ["plain", "gzip", "two gzip members", "zip", "zip of gzip"])
def test_every_container_is_known_by_its_bytes(tmp_path: Path, how: str) -> None:
    assert device_self(account_of(packed(how, sample(), tmp_path / "no.suffix"))) == EXPECTED


@pytest.mark.parametrize(
    "layout", ["bare", "compact", "tabs", "events last", "events first", "bom"]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_layout_and_order_of_keys_gives_the_same(
    tmp_path: Path, layout: str, seed: int
) -> None:
    rng = random.Random(seed)
    events = sample()
    rng.shuffle(events)
    events = [dict(rng.sample(list(event.items()), len(event))) for event in events]
    beside = {"deviceProperties": [{"id": 0}], "distributedInfo": {"rank": 2, "world_size": 4}}
    texts = {
        "bare": json.dumps(events),
        "compact": json.dumps({**beside, "traceEvents": events}, separators=(",", ":")),
        "tabs": json.dumps({**beside, "traceEvents": events}, indent="\t"),
        "events last": json.dumps({**beside, "traceEvents": events}, indent=2),
        "events first": json.dumps({"traceEvents": events, **beside}, indent=2),
        "bom": "\ufeff" + json.dumps({**beside, "traceEvents": events}),
    }
    path = tmp_path / "t.json"
    path.write_text(texts[layout], encoding="utf-8")
    account = account_of(path)
    assert device_self(account) == EXPECTED
    assert account.rank == ("" if layout == "bare" else "rank 2 of 4")


def test_begin_and_end_events_are_the_complete_ones(tmp_path: Path) -> None:
    split: list[dict[str, Any]] = []
    for event in sample():
        start, end = event["ts"], event["ts"] + event["dur"]
        begin = {k: v for k, v in event.items() if k != "dur"} | {"ph": "B"}
        split += [begin, {"ph": "E", "pid": event["pid"], "tid": event["tid"], "ts": end}]
        assert start < end
    path = tmp_path / "t.json"
    path.write_text(json.dumps(sorted(split, key=lambda e: e["ts"])))
    assert device_self(account_of(path)) == EXPECTED
    assert read_trace(path).warnings == ()


def test_lone_begins_and_ends_are_counted(tmp_path: Path) -> None:
    edge = {"cat": "cpu_op", "name": "o", "pid": 1, "tid": 1}
    events = [
        {"ph": "E", "ts": 1, **edge},
        {"ph": "B", "ts": 2, **edge},
        {"ph": "B", "ts": 3, **edge},
    ]
    path = tmp_path / "t.json"
    path.write_text(json.dumps([*events, {"ph": "E", "ts": 7, "pid": 1, "tid": 1}]))
    columns = read_trace(path)
    assert (columns.spans.start_ns.tolist(), columns.spans.dur_ns.tolist()) == ([3000], [4000])
    assert columns.warnings == (
        "1 events began (ph B) and never ended, 1 ended (ph E) and never began; left out",
    )


@pytest.mark.parametrize(
    ("launch", "kernel", "kind"),
    [
        ("cuda_runtime", "kernel", 1),
        ("cuda_driver", "kernel", 2),
        ("hip_runtime", "gpu_memcpy", 1),
        ("xpu_runtime", "gpu_memset", 1),
        ("xpu_driver", "kernel", 2),
        ("mtia_runtime", "mtia_ccp_events", 1),
        ("privateuse1_runtime", "kernel", 1),
        ("privateuse1_driver", "kernel", 2),
        ("Runtime", "Kernel", 1),
        ("Runtime", "Memcpy", 1),
    ],
)
def test_other_vendors_and_older_torch(tmp_path: Path, launch: str, kernel: str, kind: int) -> None:
    writer = TraceWriter()
    writer._add("aten::mm", "Operator" if launch == "Runtime" else "cpu_op", 0, 100, 100, 1)
    writer._add("launch", launch, 10, 5, 100, 1, correlation=5)
    writer._add("work", kernel, 200, 17, 0, 7, correlation=5, device=0, stream=7)
    path = writer.write(tmp_path / "t.json")
    assert device_self(account_of(path)) == {"aten::mm": 17}
    assert read_trace(path).launches.kind.tolist() == [kind]


def test_unknown_categories_are_named(tmp_path: Path) -> None:
    writer = layered()
    writer._add("x", "npu_magic", 0, 1, 1, 1)
    assert account_of(writer.write(tmp_path / "t.json")).table.warnings == (
        "1 events of categories that layerscope does not know are left out: npu_magic (1)",
    )


def test_missing_args_and_names_still_add_up(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(
        '[{"ph":"X","cat":"kernel","ts":1,"dur":2,"pid":3,"tid":7},'
        '{"ph":"X","cat":"kernel","ts":5,"dur":4,"args":null},'
        '{"ph":"X","cat":"cuda_runtime","ts":1},{}]'
    )
    account = account_of(path)
    assert device_self(account) == {"(no launch record)": 6000}
    assert [(d.device, d.sum_ns) for d in account.devices] == [("unknown", 4000), ("3", 2000)]


def test_devices_and_processes_each_and_in_sum(tmp_path: Path) -> None:
    writer = TraceWriter()
    for rank in (0, 1):
        pid = 100 + rank
        writer.layer("a", 0, 100, pid=pid)
        writer.launch(10 + rank, 10, pid=pid)
        writer.launch(20 + rank, 500, pid=pid)  # after the layer
        writer.kernel(10 + rank, 1000, 30, device=rank)
        writer.kernel(20 + rank, 1010, 5 + rank, device=rank, stream=8)  # overlaps, other stream
    account = account_of(writer.write(tmp_path / "t.json"))
    assert device_self(account) == {"a": 60, "(outside model)": 11}
    rows = {
        d.device: (d.processes, d.events, d.layers_ns, d.buckets_ns, d.active_ns)
        for d in account.devices
    }
    assert rows == {"0": (("100",), 2, 30, 5, 30), "1": (("101",), 2, 30, 6, 30)}
    assert sum(d.sum_ns for d in account.devices) == account.table.whole.device_sum_ns == 71
    assert account.table.whole.device_active_ns == 60


def test_one_number_in_two_processes_is_two_devices(tmp_path: Path) -> None:
    writer = TraceWriter()
    for pid in (0, 7000):
        writer._add("k", "kernel", 100, 50, pid, 7, device=0, stream=7)
    account = account_of(writer.write(tmp_path / "t.json"))
    assert {d.device for d in account.devices} == {"0", "device 0 of process 7000"}
    assert account.table.whole.device_active_ns == 100


def test_a_zip_of_two_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", "[]")
        archive.writestr("b.json", "[]")
    with pytest.raises(DataError, match=r"2 files \('a.json', 'b.json'\)"):
        read_trace(path)


def test_sources_of_a_run_are_not_looked_for_elsewhere(tmp_path: Path) -> None:
    columns = read_trace(layered("modules").write(tmp_path / "t.json"))
    assert not work_out(columns).ranges.items
    assert find_layers(columns).source == "modules"
