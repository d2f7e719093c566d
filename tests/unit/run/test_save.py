"""`cap.save(folder)`: a run folder with the same nanoseconds; what a capture lacks has its reason."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from support.shared import shared
from tensorboard.plugins import base_plugin
from torch import nn
from werkzeug.test import Client

import layerscope
from layerscope.account.account import account_of
from layerscope.cli.main import cli
from layerscope.cli.main import run as run_command
from layerscope.core.errors import (
    AccountingError,
    DataError,
    EnvironmentProblem,
    LayerscopeError,
    UsageError,
)
from layerscope.core.files import RUN_FILE, write_json
from layerscope.core.microseconds import ns_of
from layerscope.measure.ceilings import ceilings_key, device_name
from layerscope.records import Ceilings, load
from layerscope.records.work import CEILINGS_FORM
from layerscope.run.capture import Capture
from layerscope.runs.run import Run
from layerscope.tab.plugin import LayersPlugin
from layerscope.workload.module_list import model_record
from layerscope.write.captured import Block, save_block

SAMPLE = Path(__file__).resolve().parents[3] / "traces" / "sample-tiny-b2"
X = torch.ones(2, 8)
Times = dict[tuple[str, str], int | None]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)).eval()


def window(calls: int = 2, trace: Path | None = None) -> Capture:
    model = net()
    with layerscope.capture(model, trace) as cap, torch.no_grad():
        with cap.phase("first"):
            model(X)
        for _ in range(calls - 1):
            model(X)
    return cap


def times(cap: Capture) -> Times:
    return {(row.layer, row.phase): row.cpu_self_ns for row in cap.table.rows}


def in_file(path: Path) -> Times:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {(r["layer"], r["phase"]): ns_of(r["cpu_self_us"]) for r in rows}


def says(*arguments: str | Path) -> str:
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Capture, Path]:
    cap = window(3)
    return cap, cap.save(tmp_path_factory.mktemp("saved") / "mine")


# ---- the same account -----------------------------------------------------------------------------


def test_the_folder_gives_the_account_of_the_memory(saved: tuple[Capture, Path]) -> None:
    cap, folder = saved
    run = Run.open(folder)
    for part in ("table", "kernels", "operators", "steps", "attention", "devices"):
        assert getattr(run.account, part) == getattr(cap.account, part), part
    assert in_file(folder / "layers.csv") == times(cap)
    # Conservation: the rows of the file are the block, as the record states it.
    assert run.written is not None
    assert run.written.account is not None
    assert run.written.trace is not None
    whole = sum(ns for ns in in_file(folder / "layers.csv").values() if ns is not None)
    assert (
        whole == ns_of(f"{run.written.account.host_window_us:.3f}") == run.written.trace.profiled_ns
    )
    frame = run.to_pandas()
    assert round(frame["cpu_self_us"].sum() * 1000) == whole


def test_it_holds_what_a_run_of_profile_holds(saved: tuple[Capture, Path]) -> None:
    _, folder = saved
    files = json.loads((folder / RUN_FILE).read_text())["files"]
    assert all((folder / name).is_file() for name in files.values())
    held = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert held == set(files.values())
    of_profile = json.loads((SAMPLE / RUN_FILE).read_text())["files"]
    # What rests on work that was counted, or on answers, is not there.
    assert set(of_profile) - set(files) == {"attention", "figure_roofline_png", "figure_roofline_svg",
                                            "predictions", "work"}  # fmt: skip


def test_what_a_capture_does_not_know_is_absent_with_the_reason(
    saved: tuple[Capture, Path],
) -> None:
    run = Run.open(saved[1])
    record = run.written
    assert record is not None
    assert (record.config, record.workload, record.energy, record.memory) == (None,) * 4
    assert (record.quality, record.latency, record.first_token) == (None, (), ())
    for reported in (
        record.report.latency, record.report.energy, record.report.flops, record.report.wer_value
    ):  # fmt: skip
        assert reported.value is None
        assert reported.reason
    assert record.report.flops.reason == "not counted in a capture"
    assert record.trace is not None
    unknown = (record.trace.batch, record.trace.size, record.trace.decoder_steps)
    assert (*unknown, record.trace.unprofiled_ns) == (None,) * 4
    assert all(row.flops_self is None for row in run.account.table.rows)
    why = dict(run.absent)
    assert {"configuration", "data", "beside the batch", "memory", "time to first token"} <= set(
        why
    )
    assert all(why.values())
    assert record.model.params == 2 * (8 * 8 + 8)
    assert record.model.param_bytes == 4 * record.model.params


def test_no_number_is_made_up(saved: tuple[Capture, Path]) -> None:
    """A blank stays blank: in the table no column is 0 throughout that nobody measured."""
    with (saved[1] / "layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for column in (
        *("gpu_self_us", "gpu_total_us", "gpu_share", "flops_self", "flops_total", "macs_total"),
        *("bytes_self", "energy_j", "memory_peak_mib", "roofline_us"),
    ):
        assert {row[column] for row in rows} == {""}, column


def test_steps_counted_by_the_program_are_kept(tmp_path: Path) -> None:
    cap = window()
    cap.steps = 3  # after the block, so that the trace does not have it
    run = Run.open(cap.save(tmp_path / "run"))
    assert run.written is not None
    assert run.written.trace is not None
    assert run.written.trace.decoder_steps == 3
    assert run.account.table == cap.table


def test_steps_set_after_the_account_was_looked_at_change_it(tmp_path: Path) -> None:
    cap = window()
    before = cap.account
    cap.steps = 3
    assert cap.account is not before
    assert cap.account is cap.account
    assert Run.open(cap.save(tmp_path / "run")).account.table == cap.table


def test_a_notebook_shows_it(saved: tuple[Capture, Path]) -> None:
    assert "<b>mine</b>" in Run.open(saved[1])._repr_html_()


def test_a_record_is_of_one_kind(saved: tuple[Capture, Path], tmp_path: Path) -> None:
    """Neither a configuration nor a capture, or both: damage, said in one line."""
    of_capture = json.loads((saved[1] / RUN_FILE).read_text())
    of_profile = json.loads((SAMPLE / RUN_FILE).read_text())
    both = of_profile | {"captured": of_capture["captured"]}
    for record in (of_capture | {"captured": None}, both):
        (tmp_path / RUN_FILE).write_text(json.dumps(record))
        with pytest.raises(
            DataError, match="either a configuration or what was captured"
        ) as raised:
            load(tmp_path)
        assert "\n" not in str(raised.value)
    assert (of_profile["schema_version"], of_capture["schema_version"]) == (1, 2)
    assert "captured" not in of_profile  # written before there were captures, and read still
    assert load(SAMPLE).captured is None


def test_lazy_modules_that_were_never_called(tmp_path: Path) -> None:
    model = nn.ModuleDict({"used": nn.Linear(8, 8), "idle": nn.LazyLinear(4)})
    with layerscope.capture(model) as cap:
        model["used"](X)
    record = Run.open(cap.save(tmp_path / "run")).written
    assert record is not None
    assert (record.model.params, record.model.param_bytes) == (72, 288)


def test_a_plain_trace_of_ones_own_is_packed(tmp_path: Path) -> None:
    cap = window(trace=tmp_path / "own.json")
    folder = cap.save(tmp_path / "run")
    assert (folder / "trace.json.gz").read_bytes()[:2] == b"\x1f\x8b"
    assert (tmp_path / "own.json").is_file()
    assert Run.open(folder).account.table == cap.table


def test_without_its_trace_the_table_stands_for_it(tmp_path: Path) -> None:
    cap = window()
    folder = cap.save(tmp_path / "run")
    (folder / "trace.json.gz").unlink()
    table = Run.open(folder).account.table
    assert {(row.layer, row.phase): row.cpu_self_ns for row in table.rows} == times(cap)
    assert not table.failures()
    assert "difference 0 ns" in says("layers", folder)


def test_what_torch_was_set_to_stands_in_the_record(tmp_path: Path) -> None:
    torch.set_float32_matmul_precision("high")
    try:
        cap = window()
    finally:
        torch.set_float32_matmul_precision("highest")
    record = Run.open(cap.save(tmp_path / "run")).written
    assert record is not None
    assert (record.how.fp32_matmul, record.how.device) == ("high", "cpu")


def test_ceilings_are_the_kept_ones_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    cap = window()
    none = Run.open(cap.save(tmp_path / "none"))
    assert none.written is not None
    assert none.written.ceilings is None
    assert "none are kept of this device" in dict(none.absent)["ceilings"]
    cpu = torch.device("cpu")
    key = ceilings_key(cpu, None, None)
    kept = Ceilings(
        key=key,
        device=device_name(cpu),
        measured_utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        matmul_flops_per_s={"float32": 1e11, "float16": 1e11, "bfloat16": 1e11},
        matmul_shape={},
        copy_bytes_per_s=1e10,
        method="by hand",
        absent={"tf32": "a CPU has no TF32"},
        form=CEILINGS_FORM,
        quiet=True,
    )
    (tmp_path / "layerscope").mkdir()
    write_json(tmp_path / "layerscope" / "ceilings.json", {key: kept})
    some = Run.open(cap.save(tmp_path / "some"))
    assert some.written is not None
    assert some.written.ceilings is not None
    assert some.written.ceilings.copy_bytes_per_s == 1e10
    assert "ceilings" not in dict(some.absent)


def test_a_trace_with_device_events_gives_them_to_the_folder(tmp_path: Path) -> None:
    """As a capture on a GPU would: the trace is an H200's, the machine that saves it is any."""
    trace = shared("traces/xl_b1_cudagraphs_h200.trace.json.gz")
    model = model_record(net(), name="m", source="folder", weights="", trained=False)
    block = Block(
        trace=trace,
        ended=datetime.now(UTC),
        model=replace(model, modules=(), roles={}),
        device="cpu",
        fp32_matmul="highest",
    )
    record = save_block(block, tmp_path / "run")
    run, wanted = Run.open(tmp_path / "run"), account_of(trace)
    assert run.account.table == wanted.table
    assert record.account is not None
    device = sum(row.gpu_self_ns or 0 for row in wanted.table.rows)
    assert (
        device == ns_of(f"{record.account.device_sum_us:.3f}") == wanted.table.whole.device_sum_ns
    )
    assert run.findings is not None
    assert "launch-bound-forward" in {finding.id for finding in run.findings.seen}
    assert (tmp_path / "run" / "figures" / "window.svg").is_file()
    assert "figure window" not in dict(run.absent)


def test_calls_of_two_threads(tmp_path: Path) -> None:
    """Their windows add up, with the trace and without it; the block's own is its thread's."""
    model = net()
    with layerscope.capture(model) as cap:
        model(X)
        worker = threading.Thread(target=lambda: model(X))
        worker.start()
        worker.join()
    folder = cap.save(tmp_path / "run")
    run = Run.open(folder)
    assert run.account.table == cap.table
    block, other = cap.table.whole.host_threads
    assert run.written is not None
    assert run.written.trace is not None
    assert run.written.trace.profiled_ns == block.window_ns
    (folder / "trace.json.gz").unlink()
    table = Run.open(folder).account.table
    table.check()
    assert table.whole.host_window_ns == block.window_ns + other.window_ns


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu(tmp_path: Path) -> None:
    model = net().cuda()
    inputs = X.cuda()
    model(inputs)
    with layerscope.capture(model) as cap:
        model(inputs)
    run = Run.open(cap.save(tmp_path / "run"))
    assert run.account.table == cap.table
    assert run.written is not None
    assert run.written.account is not None
    assert (run.written.how.device, run.written.account.status) == ("cuda", "ok")
    assert run.written.environment.gpu_name
    device = sum(row.gpu_self_ns or 0 for row in cap.table.rows)
    assert device == ns_of(f"{run.written.account.device_sum_us:.3f}") > 0
    assert run.written.ceilings is not None or dict(run.absent)["ceilings"]


# ---- every reader ---------------------------------------------------------------------------------


def test_the_command_line_takes_it(saved: tuple[Capture, Path], tmp_path: Path) -> None:
    cap, folder = saved
    says("layers", folder, "--csv", tmp_path / "by-table.csv")
    assert in_file(tmp_path / "by-table.csv") == times(cap)
    page = tmp_path / "page.html"
    comment = says("report", folder, "--html", page, "--markdown", "-")
    for text in (comment, page.read_text(encoding="utf-8")):
        assert "not counted in a capture" in text
        assert "the program made the inputs by itself" in text
        assert "Sequential, captured" in text
    assert "figure roofline: no layer has counted FLOPs" in comment
    says("export", folder, "--perfetto", "--out", tmp_path)
    says("export", folder, "--tb-profiler", "--out", tmp_path)
    assert list(tmp_path.glob("*.perfetto.json.gz"))
    assert list(tmp_path.glob("*.pt.trace.json.gz"))


def test_compare_two_captures(saved: tuple[Capture, Path], tmp_path: Path) -> None:
    cap, folder = saved
    other = window(5)
    found = json.loads(says("compare", folder, other.save(tmp_path / "other"), "--json"))
    wholes = [c.table.whole.host_window_ns or 0 for c in (cap, other)]
    assert found["layers"]["change_ns"] == wholes[1] - wholes[0]
    assert found["layers"]["unexplained_ns"] == 0
    reasons = {metric["metric"]: metric["absent"] for metric in found["metrics"]}
    assert reasons["latency"] == "both: a capture measures nothing without the profiler"
    assert reasons["flops"] == "both: not counted in a capture"
    assert any("nobody counted" in caution for caution in found["cautions"])
    # What cannot be judged is no pass.
    assert run_command(["compare", str(folder), str(folder), "--fail-on", "flops>1%"]) == 4


def test_compare_with_a_run_of_profile(saved: tuple[Capture, Path]) -> None:
    _, folder = saved
    for pair in ((folder, SAMPLE), (SAMPLE, folder)):
        found = json.loads(says("compare", *pair, "--anyway", "--json"))
        latency = next(m for m in found["metrics"] if m["metric"] == "latency")
        assert {latency["base"] is None, latency["other"] is None} == {True, False}
        side = "BASE" if pair[0] == folder else "OTHER"
        assert latency["absent"] == f"{side}: a capture measures nothing without the profiler"
        assert found["layers"]["unexplained_ns"] == 0
        kind = next(d for d in found["differences"] if d["name"] == "kind of run")
        assert {kind["base"], kind["other"]} == {"capture", "run of profile"}


def test_the_tab_takes_it(saved: tuple[Capture, Path]) -> None:
    cap, folder = saved
    plugin = LayersPlugin(base_plugin.TBContext(logdir=str(folder.parent)))
    apps = plugin.get_plugin_apps()
    (run,) = json.loads(Client(apps["/runs"]).get("/runs").get_data())
    assert (run["problem"], run["name"]) == ("", "mine")
    assert run["config"]["model"] == "Sequential, captured"
    assert run["absent"]["configuration"]
    assert run["report"]["latency"]["reason"]
    assert run["beside_batch"] == []
    answer = Client(apps["/file"]).get("/file", query_string={"run": "mine", "name": "layers"})
    rows = csv.DictReader(answer.get_data(as_text=True).splitlines())
    assert {(r["layer"], r["phase"]): ns_of(r["cpu_self_us"]) for r in rows} == times(cap)
    window_ = Client(apps["/window"]).get("/window", query_string={"run": "mine", "layer": "0"})
    assert window_.status_code == 200


def test_it_is_read_where_torch_cannot_be_imported(
    saved: tuple[Capture, Path], tmp_path: Path
) -> None:
    """As processes: torch is in the way of its own import."""
    (tmp_path / "torch.py").write_text("raise ImportError('torch must not be imported')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    page = tmp_path / "page.html"
    verbs = (
        ("layers", saved[1]),
        ("compare", saved[1], saved[1]),
        ("report", saved[1], "--html", page),
    )
    for verb in verbs:
        done = subprocess.run(
            [sys.executable, "-m", "layerscope", *map(str, verb)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stderr


# ---- one clear line -------------------------------------------------------------------------------


def test_before_the_block_has_ended(tmp_path: Path) -> None:
    model = net()
    never = layerscope.capture(model)
    with pytest.raises(LayerscopeError, match="has not ended"):
        never.save(tmp_path / "run")
    with layerscope.capture(model) as cap:
        model(X)
        with pytest.raises(LayerscopeError, match="has not ended"):
            cap.save(tmp_path / "run")
    with pytest.raises(ZeroDivisionError), layerscope.capture(model) as failed:
        _ = 1 / 0
    with pytest.raises(LayerscopeError, match="or it failed"):
        failed.save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def _occupied(base: Path) -> Path:
    (base / "notes").mkdir()
    (base / "notes" / "a.txt").write_text("mine")
    return base / "notes"


def _file(base: Path) -> Path:
    (base / "notes").write_text("mine")
    return base / "notes"


def _loop(base: Path) -> Path:
    (base / "loop").symlink_to(base / "loop")
    return base / "loop"


BAD: dict[str, tuple[Callable[[Path], Any], type[LayerscopeError], str]] = {
    "other files": (_occupied, UsageError, "holds no saved capture"),
    "a run of profile": (lambda _: SAMPLE, UsageError, "holds no saved capture"),
    "a file": (_file, UsageError, "a file"),
    "below a file": (lambda base: _file(base) / "run", EnvironmentProblem, "cannot be written"),
    "no disk": (lambda _: Path("/proc/layerscope"), EnvironmentProblem, "cannot be written"),
    "a long name": (lambda base: base / ("x" * 300), EnvironmentProblem, "File name too long"),
    "a null": (lambda base: f"{base}/a\0b", EnvironmentProblem, "null"),
    "a loop of links": (_loop, EnvironmentProblem, "no run can be written"),
    "here": (lambda _: ".", UsageError, "the current folder"),
    "no path": (lambda _: None, UsageError, "takes the path of a folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_place_that_is_none(case: str, tmp_path: Path) -> None:
    place, kind, words = BAD[case]
    asked = place(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(kind, match=words) as raised:
        window().save(asked)
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_saved_capture_gives_way_to_the_next_and_nothing_else_does(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    window(2).save(folder)
    second = window(4)
    assert second.save(str(folder)) == folder
    assert Run.open(folder).account.table == second.table
    assert [p.name for p in folder.parent.iterdir()] == ["run"]
    (folder / "thoughts.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"also holds thoughts\.txt"):
        second.save(folder)
    assert (folder / "thoughts.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert second.save(tmp_path / "empty") == tmp_path / "empty"


def test_a_trace_that_is_gone(tmp_path: Path) -> None:
    cap = window(trace=tmp_path / "own.json.gz")
    (tmp_path / "own.json.gz").unlink()
    with pytest.raises(EnvironmentProblem, match="nothing to save"):
        cap.save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_an_account_that_does_not_add_up_is_written_and_said(tmp_path: Path) -> None:
    with layerscope.capture(net()) as cap:
        pass  # no call of the model
    with pytest.raises(AccountingError, match=r"accounting failed: no call .* The folder is kept"):
        cap.save(tmp_path / "run")
    record = Run.open(tmp_path / "run").written
    assert record is not None
    assert record.account is not None
    assert record.account.status == "failed"
    assert run_command(["layers", str(tmp_path / "run")]) == 5
    assert (
        "does not add up"
        in CliRunner().invoke(cli, ["report", str(tmp_path / "run"), "--markdown", "-"]).output
    )


# ---- compiled code --------------------------------------------------------------------------------


def compiled(eager_calls: int) -> Capture:
    """One call of a compiled net, beside as many calls run eagerly as asked for."""
    torch.compiler.reset()  # what an equal net was compiled to would serve this one, too
    model = net()
    with torch.no_grad(), layerscope.watch_compile(model) as watch:
        with layerscope.capture(model) as eager:
            for _ in range(eager_calls):
                model(X)
        fast = torch.compile(model)
        fast(X)
        with layerscope.capture(fast, compiled=watch, eager=eager) as cap:
            fast(X)
    return cap


@pytest.mark.slow
def test_compiled_code_beside_the_same_calls_run_eagerly(tmp_path: Path) -> None:
    cap = compiled(1)
    folder = cap.save(tmp_path / "run")
    run = Run.open(folder)
    assert (folder / "provenance.json").is_file()
    assert run.account.table == cap.table
    assert run.written is not None
    assert run.written.captured is not None
    assert run.written.captured.eager_heavy == (("mm", "0", 1), ("mm", "2", 1))
    assert not run.account.table.failures()


@pytest.mark.slow
def test_compiled_code_that_ran_other_products_than_eagerly(tmp_path: Path) -> None:
    cap = compiled(2)
    assert cap.table.failures()
    with pytest.raises(AccountingError, match="fewer in compiled code than eagerly"):
        cap.save(tmp_path / "run")
    assert Run.open(tmp_path / "run").account.table.failures() == cap.table.failures()
