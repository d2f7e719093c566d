"""A real TensorBoard with torch-tb-profiler on exported traces: every view that its page asks for."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command import layerscope
from support.shared import shared

from layerscope.account.account import account_of
from layerscope.records.tables import Account

pytestmark = pytest.mark.slow

pytest.importorskip("torch_tb_profiler", reason="torch-tb-profiler is not installed")

XL, MEMORY = "xl", "memory"


class Server:
    """TensorBoard in a process of its own: the plugin starts processes that import its main module."""

    def __init__(self, logdir: Path) -> None:
        self._log = logdir.with_suffix(".log").open("w+b")
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir)]
        self._process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", "0"],
            stderr=self._log,
            start_new_session=True,
        )
        found = self._wait(lambda: re.search(rb"http://127\.0\.0\.1:\d+", self._said()))
        self._address = found.group().decode()

    def _said(self) -> bytes:
        return Path(self._log.name).read_bytes()

    def _wait(self, ready: Any) -> Any:
        until = time.monotonic() + 150
        while time.monotonic() < until:
            assert self._process.poll() is None, self._said().decode()
            if found := ready():
                return found
            time.sleep(0.2)
        raise AssertionError(self._said().decode())

    def loaded(self, runs: set[str]) -> None:
        """Wait until the plugin has read these runs."""
        self._wait(lambda: set(self.get("runs")["runs"]) >= runs)

    def get(self, route: str, **query: str) -> Any:
        """The answer of a route of the plugin, decoded; fails on anything but 200."""
        address = f"{self._address}/data/plugin/pytorch_profiler/{route}"
        with urllib.request.urlopen(f"{address}?{urllib.parse.urlencode(query)}") as answer:
            body = answer.read()
            if answer.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
        return json.loads(body)

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(30)
        self._log.close()


def with_memory(folder: Path) -> Path:
    """A trace of torch.profiler's with allocations, as any user records one."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from layerscope.instrument.ranges import LayerRanges

    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.Linear(128, 8))
    recorded = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    with torch.no_grad(), LayerRanges(model), recorded:
        model(torch.zeros(32, 64))
    path = folder / "memory.json"
    recorded.export_chrome_trace(str(path))
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tb")
    traces = {XL: shared("traces/xl_b16_eager_h200.trace.json.gz"), MEMORY: with_memory(folder)}
    for name, trace in traces.items():
        done = layerscope("export", trace, "--tb-profiler", "--out", folder / "log" / name)
        assert done.returncode == 0, done.stderr
    running = Server(folder / "log")
    try:
        running.loaded({XL, MEMORY})
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def account() -> Account:
    return account_of(shared("traces/xl_b16_eager_h200.trace.json.gz"))


def place(server: Server, run: str) -> dict[str, str]:
    """Worker and span of a run's one profile, as the page learns them."""
    (worker,) = server.get("workers", run=run, view="Overview")
    (span,) = server.get("spans", run=run, worker=worker)
    return {"run": run, "worker": worker, "span": span}


def test_the_overview_has_our_device_time(server: Server, account: Account) -> None:
    (summary,) = server.get("overview", **place(server, XL))["performance"]
    parts = {part["name"]: part["value"] for part in summary["children"]}
    device_us = parts["Kernel"] + parts["Memcpy"] + parts["Memset"]
    assert account.table.whole.device_active_ns is not None
    assert device_us == pytest.approx(account.table.whole.device_active_ns / 1000, rel=1e-3)
    assert device_us == pytest.approx(210_096, abs=2)


def test_the_module_view_has_every_layer_once_with_our_times(
    server: Server, account: Account
) -> None:
    calls, total_ns, self_ns = {}, {}, {}
    for row in account.table.rows:
        calls[row.layer] = calls.get(row.layer, 0) + row.calls
        total_ns[row.layer] = total_ns.get(row.layer, 0) + (row.gpu_total_ns or 0)
        self_ns[row.layer] = self_ns.get(row.layer, 0) + (row.gpu_self_ns or 0)
    seen: dict[str, Any] = {}

    def walk(stats: dict[str, Any]) -> None:
        name = stats["name"].strip()
        assert name not in seen, f"{name} is listed twice"
        seen[name] = stats
        for child in stats["children"]:
            walk(child)

    for root in server.get("module", **place(server, XL))["data"]:
        walk(root)
    assert set(seen) == {layer for layer, count in calls.items() if count}
    assert seen["language_model.decoder"]["device_duration"] == pytest.approx(107_310, abs=1)
    for name, stats in seen.items():
        assert stats["occurences"] == calls[name]
        assert stats["self_device_duration"] == pytest.approx(self_ns[name] / 1000, abs=0.01), name
        # `language_model` is called once a step, without the encoder, which generate() calls.
        if name != "language_model":
            assert stats["device_duration"] == pytest.approx(total_ns[name] / 1000, abs=0.01), name
    assert seen["generate"]["device_duration"] == pytest.approx(210_096.345, abs=0.01)


def test_operators_and_kernels_add_up_to_the_device_sum(server: Server) -> None:
    at = place(server, XL)
    operators = server.get("operation/table", **at, group_by="Operation")["data"]
    assert sum(row["device_self_duration"] for row in operators) == pytest.approx(210_096, abs=60)
    kernels = server.get("kernel/table", **at, group_by="Kernel")["data"]
    names = [column["name"] for column in kernels["columns"]]
    duration = names.index("Total Duration (us)")
    assert sum(row[duration] for row in kernels["rows"]) == pytest.approx(209_733, abs=60)


ASKED = [
    ("views", {}),
    ("operation", {"group_by": "Operation"}),
    ("operation", {"group_by": "OperationAndInputShape"}),
    ("operation/table", {"group_by": "OperationAndInputShape"}),
    ("kernel", {}),
    ("kernel/table", {"group_by": "KernelNameAndOpName"}),
    ("kernel/tc_pie", {}),
    ("tree", {}),
]


@pytest.mark.parametrize(("route", "query"), ASKED)
def test_what_the_page_asks_for_is_answered(
    server: Server, route: str, query: dict[str, str]
) -> None:
    assert server.get(route, **place(server, XL), **query)


def test_the_trace_view_gets_the_file_with_its_own_counters_appended(server: Server) -> None:
    events = server.get("trace", **place(server, XL))["traceEvents"]
    kinds = {event.get("cat") for event in events}
    assert {"python_function", "cpu_op", "runtime", "kernel", "gpu_memcpy"} <= kinds
    assert any(event["ph"] == "C" and "GPU 0 Utilization" in event["name"] for event in events)


def test_the_views_offered_are_those_that_the_trace_has_data_for(server: Server) -> None:
    """The shared trace holds no allocations: no Memory view there, and none made up."""
    assert server.get("views", run=XL) == ["Overview", "Operator", "Kernel", "Trace", "Module"]
    assert server.get("views", run=MEMORY) == ["Overview", "Operator", "Trace", "Memory", "Module"]


def test_the_memory_view_has_the_bytes_that_torch_recorded(server: Server) -> None:
    at = place(server, MEMORY)
    rows = server.get("memory", **at, memory_metric="B")["rows"]["CPU"]
    by_name = {row[0]: row for row in rows}
    # Two outputs of fp32: 32 x 128 and 32 x 8. Column 6: bytes allocated, children included.
    assert by_name["aten::linear"][6] == 4 * 32 * (128 + 8)
    curve = server.get("memory_curve", **at)
    assert curve["rows"]["CPU"]
    assert server.get("memory_events", **at)["rows"]["CPU"]
    modules = server.get("module", **at)["data"]
    assert [stats["name"].strip() for stats in modules] == ["forward"]
    assert [child["name"].strip() for child in modules[0]["children"]] == ["0", "1"]
