"""Every verb, the tab and a notebook give each layer of a run or a trace the same nanoseconds."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from support.kineto import TraceWriter
from support.shared import SHARED, shared
from tensorboard.plugins import base_plugin
from werkzeug.test import Client

import layerscope
from layerscope.cli.main import cli
from layerscope.cli.main import run as run_command
from layerscope.core.errors import DataError, UsageError
from layerscope.core.microseconds import ns_of
from layerscope.core.vocabulary import BUCKETS
from layerscope.records.provenance import (
    CallSite,
    CompiledGraph,
    LayerWeight,
    Provenance,
    save_provenance,
)
from layerscope.runs.run import Run
from layerscope.tab.plugin import LayersPlugin
from layerscope.timeline.choice import Choice
from layerscope.timeline.window import Timeline

SAMPLE = Path(__file__).resolve().parents[2] / "traces" / "sample-tiny-b2"
CASES = sorted((SHARED / "cases" / "traces").glob("*.json")) if SHARED.exists() else []
TRACES = (
    pytest.param("xl_b16_eager_h200", marks=pytest.mark.slow),
    "xl_b1_cudagraphs_h200",
    "qwen2_5_vl_b4_h100",
)
Times = Counter[tuple[str, str]]
# A block of two matmuls with a kernel that is three quarters `act`'s and one quarter the block's.
SITES = (
    CallSite("extern_kernels.addmm", "exact", (LayerWeight("fc1", 1),), "mm"),
    CallSite("triton_poi_fused_relu_add_0", "fused", (LayerWeight("act", 3), LayerWeight("", 1))),
    CallSite("extern_kernels.mm", "exact", (LayerWeight("fc2", 1),), "mm"),
)


def cli_says(*arguments: str | Path) -> str:
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def by_table(source: Path, folder: Path, column: str) -> Times:
    """What `layers --csv` says; rows without time left out."""
    path = folder / "by-table.csv"
    cli_says("layers", source, "--csv", path)
    with path.open(newline="", encoding="utf-8") as file:
        return +Counter(
            {(r["layer"], r["phase"]): ns_of(r[column]) for r in csv.DictReader(file) if r[column]}
        )


def by_perfetto(source: Path, folder: Path) -> Times:
    """Device events of the exported trace under the layers that it says."""
    out = folder / "perfetto"
    cli_says("export", source, "--perfetto", "--out", out)
    (path,) = out.glob("*.perfetto.json.gz")
    found: Times = Counter()
    for event in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]:
        told = event.get("args", {})
        if event.get("cat", "").startswith("layerscope_") or "dur" not in event:
            continue
        if "shares_ns" in told:
            for name, ns in told["shares_ns"].items():
                layer, _, phase = name.rpartition(" (")
                found[layer, phase.rstrip(")")] += ns
        elif "layer" in told and "phase" in told and "stream" in told:
            found[told["layer"], told["phase"]] += round(float(event["dur"]) * 1000)
    return +found


def by_viewer(run: Run) -> Times:
    """Kernels in the trace viewer of the tab, which shows the window of the model."""
    window = Timeline(run.workings).window(Choice(), most_slices=10**9)
    found: Times = Counter()
    for row in (row for row in window.rows if row.kind == "kernel"):
        shared_by = {index for index, *_ in row.shares}
        for index, ns in enumerate(row.dur_ns):
            if index not in shared_by:
                found[window.names[row.owner[index]], window.names[row.phase[index]]] += ns
        for _, layer, phase, ns in row.shares:
            found[window.names[layer], window.names[phase]] += ns
    return without_buckets(+found)


def without_buckets(times: Times) -> Times:
    return Counter({key: ns for key, ns in times.items() if key[0] not in BUCKETS})


def every_choice_has_the_tables_total(run: Run) -> None:
    """In the viewer a layer's window has the device time that the table has for it."""
    timeline, asked = Timeline(run.workings), 0
    rows = [row for row in run.account.table.rows if not row.is_bucket and row.gpu_total_ns]
    for row in rows[:: max(1, len(rows) // 25)]:
        window = timeline.window(Choice(layer=row.layer, phase=row.phase))
        assert window.device_ns == row.gpu_total_ns, (row.layer, row.phase)
        asked += 1
    assert asked


def traced(source: Path, folder: Path) -> None:
    """All that a trace with device events can be asked in."""
    run = Run.open(source)
    wanted = by_table(source, folder, "gpu_self_us")
    assert wanted.total() == run.account.table.whole.device_sum_ns
    if run.workings.ranges.items:
        assert by_viewer(run) == without_buckets(wanted)
    assert by_perfetto(source, folder) == wanted
    frame = run.to_pandas()
    assert round(frame["gpu_self_us"].sum() * 1000) == wanted.total()


@pytest.mark.parametrize("name", TRACES)
def test_a_shared_trace(name: str, tmp_path: Path) -> None:
    source = shared(f"traces/{name}.trace.json.gz")
    traced(source, tmp_path)
    every_choice_has_the_tables_total(Run.open(source))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_trace_of_someone_elses(path: Path, tmp_path: Path) -> None:
    if path.stem == "list_of_lists":
        pytest.skip("a list of traces in one file is not read yet")
    traced(path, tmp_path)


def compiled_trace(path: Path) -> Path:
    """A call of a compiled block: 1,000 ns of fc1, 11 fused, 500 of fc2, 7 and 5 of the wrapper's."""
    trace = TraceWriter()
    trace.layer("forward", 0, 3000)
    trace.layer("block", 100, 1500)
    trace.op("compiled:7:block", 200, 1000)
    trace._add("## Call CompiledFxGraph abc ##", "user_annotation", 210, 900, 100, 1)
    for name, start, dur in (
        ("aten::addmm", 220, 100),
        ("triton_poi_fused_relu_add_0", 350, 50),
        ("aten::mm", 450, 200),
    ):
        trace.op(name, start, dur)
    for number, (start, name, dur) in enumerate(
        [
            (225, "gemm_a", 1000), (332, "copy", 7), (360, "triton_poi_fused_relu_add_0", 11),
            (460, "gemm_b", 500), (900, "wrapper", 5),
        ]
    ):  # fmt: skip
        trace.launch(number + 1, start, driver=name.startswith("triton"))
        trace.kernel(number + 1, 10_000 + 2000 * number, dur, name=name)
    return trace.write(path)


def test_compiled_code_whose_record_is_gone(tmp_path: Path) -> None:
    source = compiled_trace(tmp_path / "trace.json.gz")
    save_provenance(Provenance(torch="2.13.0", graphs=(CompiledGraph(7, SITES),)), tmp_path)
    traced(source, tmp_path)
    every_choice_has_the_tables_total(Run.open(source))
    assert by_table(source, tmp_path, "gpu_self_us") == {
        ("block.fc1", "forward"): 1000,
        ("block.act", "forward"): 8,  # three quarters of 11, the first of equals
        ("block", "forward"): 3 + 7 + 5,
        ("block.fc2", "forward"): 500,
    }


def test_a_layer_inside_compiled_code_has_a_window_of_its_own(tmp_path: Path) -> None:
    source = compiled_trace(tmp_path / "trace.json.gz")
    save_provenance(Provenance(torch="2.13.0", graphs=(CompiledGraph(7, SITES),)), tmp_path)
    timeline = Timeline(Run.open(source).workings)
    window = timeline.window(Choice(layer="block.fc1"))
    assert (window.calls, window.device_ns, window.host_ns) == (1, 1000, 100)
    with pytest.raises(UsageError, match="no call of it"):
        timeline.window(Choice(layer="block.fc3"))


def test_modules_that_the_python_tracer_saw_are_in_every_output(tmp_path: Path) -> None:
    source, trace = tmp_path / "modules.json.gz", TraceWriter()
    trace._add("nn.Module: Net_0", "python_function", 0, 1000, 100, 1)
    trace._add("nn.Module: Linear_0", "python_function", 100, 300, 100, 1)
    trace.launch(1, 150)
    trace.kernel(1, 2000, 70)
    trace.launch(2, 600)
    trace.kernel(2, 2100, 30)
    trace.write(source)
    traced(source, tmp_path)
    assert sorted(by_table(source, tmp_path, "gpu_self_us").values()) == [30, 70]


@pytest.fixture
def captured(tmp_path: Path) -> Callable[[bool], Path]:
    def capture(compiled: bool) -> Path:
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8))
        x, path = torch.randn(4, 8), tmp_path / "captured.trace.json.gz"
        with torch.no_grad(), contextlib.ExitStack() as exits:
            watch = exits.enter_context(layerscope.watch_compile(net)) if compiled else None
            run = torch.compile(net) if compiled else net
            run(x)
            with layerscope.capture(net, path, compiled=watch) as window:
                run(x)
        saved, memory = Run.open(path).account, window.account
        assert saved.table == memory.table
        assert (saved.kernels, saved.operators) == (memory.kernels, memory.operators)
        folder = window.save(tmp_path / "saved")
        kept = Run.open(folder).account
        assert (kept.table, kept.kernels, kept.operators) == (
            memory.table,
            memory.kernels,
            memory.operators,
        )
        assert by_table(folder, tmp_path, "cpu_self_us") == by_table(path, tmp_path, "cpu_self_us")
        return path

    return capture


@pytest.mark.parametrize("compiled", [False, True])
def test_a_capture_and_its_file(
    compiled: bool, captured: Callable[[bool], Path], tmp_path: Path
) -> None:
    source = captured(compiled)
    run = Run.open(source)
    wanted = by_table(source, tmp_path, "cpu_self_us")
    assert wanted.total() == run.account.table.whole.host_window_ns
    timeline = Timeline(run.workings)
    for row in run.account.table.rows:
        if not compiled and row.calls and not row.is_bucket:
            window = timeline.window(Choice(layer=row.layer, phase=row.phase))
            assert window.host_ns == row.cpu_total_ns, row.layer


def sample(folder: Path) -> Path:
    shutil.copytree(SAMPLE, folder / "run")
    return folder / "run"


def test_a_run_its_trace_the_tab_and_the_page(tmp_path: Path) -> None:
    run = sample(tmp_path)
    wanted = by_table(run, tmp_path, "cpu_self_us")
    table = (tmp_path / "by-table.csv").read_bytes()
    assert by_table(run / "trace.json.gz", tmp_path, "cpu_self_us") == wanted
    assert (tmp_path / "by-table.csv").read_bytes() == table  # FLOPs, roofline and all

    plugin = LayersPlugin(base_plugin.TBContext(logdir=str(tmp_path)))
    asked = Client(plugin.get_plugin_apps()["/file"]).get(
        "/", query_string={"run": "run", "name": "layers"}
    )
    assert asked.data == table

    cli_says("report", run, "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    data = json.loads(page.split('type="application/json"', 1)[1].split(">", 1)[1].split("<")[0])
    at = data["columns"].index
    found: Times = Counter()
    for row in data["tables"][0]["rows"]:
        key = (data["texts"]["layer"][row[at("layer")]], data["texts"]["phase"][row[at("phase")]])
        found[key] += row[at("cpu_self_ns")]
    assert +found == wanted

    compared = json.loads(cli_says("compare", run, run / "trace.json.gz", "--json", "--anyway"))
    for side in ("base_ns", "other_ns"):
        rows = compared["layers"]["rows"]
        assert +Counter({(r["layer"], r["phase"]): r[side] for r in rows}) == wanted
    frame = Run.open(run).to_pandas()
    assert round(frame["cpu_self_us"].sum() * 1000) == wanted.total()


def test_a_run_without_its_trace_keeps_its_findings(tmp_path: Path) -> None:
    run = sample(tmp_path)
    whole = cli_says("layers", run)
    (run / "trace.json.gz").unlink()
    thin = cli_says("layers", run)
    findings = [line for line in whole.splitlines() if line.startswith("findings")]
    assert findings
    assert findings == [line for line in thin.splitlines() if line.startswith("findings")]
    opened = Run.open(run)
    assert opened.findings is not None
    assert opened.idle is None
    with pytest.raises(DataError, match="no trace to export"):
        _ = opened.workings


def test_what_a_run_does_not_hold_has_its_reason(tmp_path: Path) -> None:
    run = sample(tmp_path)
    for name in ("trace.json.gz", "layers.csv", "work.json", "findings.json"):
        (run / name).unlink()
    opened = Run.open(run)
    assert not opened.has_account
    assert {what for what, _ in opened.absent} == {"account", "findings"}
    assert all(reason for _, reason in opened.absent)
    with pytest.raises(DataError, match="no account to show"):
        _ = opened.account


def test_a_notebook_shows_a_run_with_every_text_escaped(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 100)
    trace.layer("a<script>b", 10, 50)
    shown = layerscope.open_run(trace.write(tmp_path / "t.json"))._repr_html_()
    assert "a&lt;script&gt;b" in shown
    assert "<script>" not in shown


@pytest.mark.parametrize("verb", ["layers", "export", "compare", "report"])
def test_what_is_no_run_is_one_line(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep.json").write_text("{}")
    more = {"export": ["--perfetto"], "report": ["--markdown"], "compare": [str(tmp_path)]}
    assert run_command([verb, str(tmp_path), *more.get(verb, [])]) == DataError.exit_code
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
