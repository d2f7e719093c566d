"""`layerscope sweep` as a user runs it on the bundled model: its tables, its resume, its kills."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.command import layerscope
from support.sweep_counts import counted

from layerscope.config.plan import plan
from layerscope.config.sweep import read_sweep
from layerscope.core.columns import COLUMNS
from layerscope.records import load
from layerscope.records.sweep import Cell
from layerscope.report.progress import ProgressReporter
from layerscope.runs.sweep_folder import SweepFolder
from layerscope.sweep.execute import execute
from layerscope.sweep.models import KeptModel
from layerscope.sweep.run import PlannedSweep, Watcher, cells_path, run_sweep

BASE = (
    "base: {model: tiny, weights: random, device: cpu, dtype: fp32, dataset: synthetic-textvqa, "
    "samples: 2, warmup: 0, max_new_tokens: 2, measure_limit_s: 0.1, image_size: 56, max_input_len: 20"
)
# Two that run, one that cannot, and one whose data are not there.
SMALL = (
    BASE.replace(" dataset: synthetic-textvqa,", "") + "}\nreference: batch_size\n"
    "zip:\n"
    "  batch_size: [1, 2, 1, 1]\n"
    "  optimization: [eager, eager, flash, eager]\n"
    "  dataset: [synthetic-textvqa, synthetic-textvqa, synthetic-textvqa, coco]\n"
    "override:\n"
    "  - {when: {dataset: coco}, set: {data_dir: /nowhere/at/all}}\n"
)
PLAIN = BASE + ", trace: false}\n"
QUIET = ProgressReporter(Console(), quiet=True)
ALONE = Watcher(QUIET, lambda line: None)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sweep")
    (root / "small.yaml").write_text(SMALL)
    done = layerscope("sweep", root / "small.yaml", "--out", root / "out", "--beside-reference")
    (root / "stderr.txt").write_text(done.stderr)
    (root / "stdout.txt").write_text(done.stdout)
    assert done.returncode == 3, done.stderr  # the first failed cell's
    return root


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_cell_is_a_row_and_the_failed_ones_say_why(swept: Path) -> None:
    table = rows(swept / "out" / "sweep.csv")
    assert [row["status"] for row in table] == ["done", "done", "failed", "failed"]
    assert "no part of the model can run FlashAttention" in table[2]["reason"]
    assert "/nowhere/at/all" in table[3]["reason"]
    assert {row["latency_s"] for row in table[2:]} == {""}
    for row in table[:2]:
        assert float(row["latency_s"]) > 0
        assert row["wer_value"] == ""
        assert row["wer_value_absent_because"]
        record = load(swept / "out" / row["folder"])
        assert int(row["flops_per_batch"]) == record.report.flops.value
        assert int(row["batch_size"]) == record.config.batch_size
        # torch-tb-profiler starts a process for each such file: single runs have one, cells none.
        assert "tb_profiler" not in record.files
        assert not list((swept / "out" / row["folder"]).glob("*.pt.trace.json.gz"))


def test_the_last_line_says_that_not_all_is_well(swept: Path) -> None:
    last = (swept / "stderr.txt").read_text().splitlines()[-1]
    assert last.startswith("layerscope: 2 of 4 cells have no run: batch_size=1 optimization=flash")


def test_the_plan_and_an_estimate_come_first(swept: Path) -> None:
    said = (swept / "stderr.txt").read_text().splitlines()
    assert said[0] == "sweep small: 4 cells, 0 finished, 4 to run with 2 model loads"
    assert sum(line.startswith("  ") for line in said[1:5]) == 4
    assert said[5].startswith("estimate: ")


def test_tensorboard_finds_the_axes_and_each_cell_on_its_axis(swept: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    def held(folder: Path, tag: str) -> tuple[EventAccumulator, bytes]:
        events = EventAccumulator(str(folder))
        events.Reload()
        return events, events.SummaryMetadata(tag).plugin_data.content

    out = swept / "out"
    content = held(out, metadata.EXPERIMENT_TAG)[1]
    columns = metadata.parse_experiment_plugin_data(content).hparam_infos
    assert [info.name for info in columns] == ["batch_size", "optimization", "dataset"]
    assert [v.number_value for v in columns[0].domain_discrete.values] == [1, 2]
    for row in rows(out / "sweep.csv")[:2]:
        events, content = held(out / row["folder"], metadata.SESSION_START_INFO_TAG)
        start = metadata.parse_session_start_info_plugin_data(content)
        assert start.hparams["batch_size"].number_value == int(row["batch_size"])
        (point,) = events.Scalars("e2e/latency_s")
        assert point.step == int(row["batch_size"])
        assert point.value == pytest.approx(float(row["latency_s"]), rel=1e-6)
        assert metadata.EXPERIMENT_TAG not in events.Tags()["tensors"]


def test_the_groups_of_a_cell_sum_to_its_layers(swept: Path) -> None:
    out = swept / "out"
    groups = rows(out / "sweep_groups.csv")
    for row in rows(out / "sweep.csv")[:2]:
        layers = rows(out / row["folder"] / "layers.csv")
        mine = [part for part in groups if part["cell"] == row["cell"]]
        for column in ("cpu_self_us", "op_self_us"):
            ours = sum(round(1000 * float(part[column] or 0)) for part in mine)
            assert ours == sum(round(1000 * float(layer[column] or 0)) for layer in layers)
        assert sum(int(part["flops_self"] or 0) for part in mine) == int(row["flops_per_batch"])


def test_the_layer_table_is_every_cells_own_behind_its_keys(swept: Path) -> None:
    out = swept / "out"
    with (out / "sweep_layers.csv").open(newline="") as file:
        header, *lines = csv.reader(file)
    names = [column.name for column in COLUMNS]
    assert header[:5] == ["dataset", "batch_size", "image_size", "max_input_len", "optimization"]
    assert header[5:-2] == names
    expected = []
    for row in rows(out / "sweep.csv")[:2]:
        with (out / row["folder"] / "layers.csv").open(newline="") as file:
            own = list(csv.reader(file))[1:]
        keys = ["synthetic-textvqa", row["batch_size"], "56", "20", "eager"]
        expected += [(keys, line) for line in own]
    assert [(line[:5], line[5:-2]) for line in lines] == expected


def test_parquet_holds_the_same_table(swept: Path) -> None:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(swept / "out" / "sweep.parquet").to_pylist()
    text = rows(swept / "out" / "sweep.csv")
    assert [list(row) for row in table] == [list(row) for row in text]
    for typed, written in zip(table, text, strict=True):
        for name, value in typed.items():
            assert written[name] == ("" if value is None else _text(value)), name


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def test_the_page_and_the_screen_show_what_is_absent(swept: Path) -> None:
    page = (swept / "out" / "sweep.md").read_text()
    screen = (swept / "stdout.txt").read_text()
    for part in ("never trained", "another model", "not comparable"):
        assert part in page
        assert part in screen
    assert "scaling exponents" not in page or "batch" in page
    assert len(rows(swept / "out" / "sweep_reference.csv")) == 8  # four quantities of two cells


def test_the_same_command_runs_only_what_is_missing(swept: Path) -> None:
    out = swept / "out"
    before = {p.name: (p / "run.json").stat().st_ino for p in (out / "cells").iterdir()}
    (swept / "small.yaml").write_text(SMALL.replace("flash, eager]", "flash, flash]"))
    done = layerscope("sweep", swept / "small.yaml", "--out", out)
    (swept / "small.yaml").write_text(SMALL)
    assert done.returncode == 3
    assert "4 cells, 2 finished, 2 to run" in done.stderr
    after = {p.name: (p / "run.json").stat().st_ino for p in (out / "cells").iterdir()}
    assert after == before


def test_a_changed_configuration_says_what_it_invalidates(swept: Path) -> None:
    changed = swept / "changed.yaml"
    changed.write_text("name: small\n" + SMALL.replace("max_new_tokens: 2", "max_new_tokens: 3"))
    done = layerscope("sweep", changed, "--out", swept / "out", "--plan-only")
    assert "4 cells, 0 finished" in done.stdout
    folder = SweepFolder(swept / "out")
    from layerscope.runs.sweep_folder import invalidated

    previous = folder.previous()
    assert previous is not None
    cells = plan(read_sweep(changed), cuda=False, where="c", out=str(folder.cells))
    lines = invalidated(previous, cells, set(folder.finished()))
    assert lines == [
        f"batch_size={b} optimization=eager dataset=synthetic-textvqa: "
        "max_new_tokens 2 -> 3, min_new_tokens 2 -> 3"
        for b in (1, 2)
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--where", "wers<1"], "did you mean `wer`?"),
        (["--minimize", "joules"], "--minimize joules: no such number"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_runs(
    swept: Path, options: list[str], said: str, tmp_path: Path
) -> None:
    done = layerscope("sweep", swept / "small.yaml", "--out", tmp_path / "new", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "new").exists()


def cells_of(tmp_path: Path, name: str, text: str) -> tuple[Any, tuple[Cell, ...], Path]:
    path = tmp_path / f"{name}.yaml"
    path.write_text(text)
    config, root = read_sweep(path), tmp_path / name
    return config, plan(config, cuda=False, where=name, out=str(cells_path(root))), root


def test_cells_do_not_depend_on_their_order_and_load_the_model_once(tmp_path: Path) -> None:
    text = PLAIN + "grid: {batch_size: [1, 2], image_size: [28, 56]}"
    text = text.replace(", image_size: 56", "")
    _, cells, one = cells_of(tmp_path, "one", text)
    _, again, other = cells_of(tmp_path, "other", text)
    order = [3, 0, 2, 1]
    for root, chosen in ((one, list(cells)), (other, [again[i] for i in order])):
        models = KeptModel()
        done = execute(chosen, SweepFolder(root), QUIET, lambda line: None, models=models)
        assert not done.failed
        assert models.loads == 1
    assert counted(one) == counted(other)
    assert len(counted(one)) == 4


def test_one_load_per_model(tmp_path: Path) -> None:
    text = PLAIN + "grid: {batch_size: [1, 2], attention: [sdpa, eager]}"
    config, cells, root = cells_of(tmp_path, "loads", text)
    models = KeptModel()
    done = execute(cells, SweepFolder(root), QUIET, lambda line: None, models=models)
    assert (len(done.ran), done.failed, models.loads) == (4, (), 2)
    result = run_sweep(PlannedSweep(config, cells, root), ALONE)
    assert (result.ran, result.problem) == (0, None)
    assert [row.status for row in result.rows] == ["done"] * 4


def test_one_bad_size_fails_alone_on_a_model_that_is_kept(tmp_path: Path) -> None:
    text = (
        PLAIN.replace(", image_size: 56", "") + "grid: {image_size: [28, 57, 56], batch_size: [1]}"
    )
    config, cells, root = cells_of(tmp_path, "sizes", text)
    result = run_sweep(PlannedSweep(config, cells, root), ALONE)
    assert [row.status for row in result.rows] == ["done", "failed", "done"]
    assert "not a multiple of the vision patch size" in str(result.rows[1].reason)
    assert result.problem is not None
    assert result.problem.exit_code == 4


@pytest.mark.slow
@pytest.mark.long
def test_killed_at_ten_random_moments(tmp_path: Path) -> None:
    path, out = tmp_path / "killed.yaml", tmp_path / "out"
    path.write_text(
        PLAIN.replace("max_new_tokens: 2", "max_new_tokens: 1").replace(", max_input_len: 20", "")
        + "grid: {batch_size: [1, 2], max_input_len: [14, 15, 16, 17, 18, 19, 20, 21, 22]}"
    )
    done = subprocess.run(
        [sys.executable, "-m", "support.killed_sweep", path, out, "10", "0"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, [*_roots(), os.environ.get("PYTHONPATH", "")])),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *kills, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(kills) == 10
    # On a very fast machine the sweep may be done before the last kills.
    assert sum(kill["killed"] for kill in kills) >= 5, kills
    assert len({len(kill["finished"]) for kill in kills}) >= 3, kills
    assert any(kill["partial"] for kill in kills), kills
    # What was finished stays, untouched: same name, same inode, never made again.
    for earlier, later in pairwise([*kills, last]):
        assert earlier["finished"].items() <= later["finished"].items()
    assert (last["code"], last["partial"]) == (0, 0)
    cells = plan(read_sweep(path), cuda=False, where="k", out=str(out / "cells"))
    ids = [name.rsplit("-", 1)[1] for name in last["finished"]]
    assert sorted(ids) == sorted(cell.id for cell in cells)
    for folder in SweepFolder(out).finished().values():
        assert set(folder.record.files.values()) <= set(os.listdir(folder.folder))
        assert folder.record.report.flops.value
    assert {row["status"] for row in rows(out / "sweep.csv")} == {"done"}


def _roots() -> tuple[Path, Path]:
    tests = Path(__file__).resolve().parents[1]
    return tests.parent, tests


def test_a_second_writer_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    path, out = tmp_path / "long.yaml", tmp_path / "out"
    path.write_text(PLAIN.replace("warmup: 0", "warmup: 500") + "grid: {batch_size: [1]}")
    with subprocess.Popen(
        [sys.executable, "-m", "layerscope", "sweep", str(path), "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    ) as first:
        try:
            assert first.stderr is not None
            while not first.stderr.readline().startswith("warm up: started"):
                assert first.poll() is None
            second = layerscope("sweep", path, "--out", out)
        finally:
            first.kill()
    assert second.returncode == 3
    assert f"another sweep writes there (process {first.pid} on " in second.stderr
    assert [p.name for p in (out / "cells").iterdir() if not p.name.startswith(".")] == []


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    path, out = tmp_path / "two.yaml", tmp_path / "out"
    text = PLAIN.replace("warmup: 0, ", "") + "grid: {batch_size: [1], warmup: [0, 500]}"
    path.write_text(text)
    process = subprocess.Popen(
        [sys.executable, "-m", "layerscope", "sweep", str(path), "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        while "warm up: started, 500" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    last = (
        f"layerscope: interrupted; finished cells are kept in {out} and stand in sweep.csv, the same "
        "command goes on."
    )
    assert said.splitlines()[-1] == last
    assert "Traceback" not in said
    (kept,) = (out / "cells").iterdir()
    assert not kept.name.startswith(".")
    with (out / "sweep.csv").open(newline="", encoding="utf-8") as file:
        done, waiting = csv.DictReader(file)
    assert (done["status"], done["folder"]) == ("done", f"cells/{kept.name}")
    assert float(done["latency_s"]) > 0
    assert (waiting["status"], waiting["reason"]) == ("not run", "not run yet")


def test_fresh_starts_anew(tmp_path: Path) -> None:
    config, cells, root = cells_of(tmp_path, "fresh", PLAIN + "grid: {batch_size: [1]}")
    first = run_sweep(PlannedSweep(config, cells, root), ALONE)
    (kept,) = SweepFolder(root).finished().values()
    (root / ".partial-cells").mkdir()  # an earlier --fresh that was killed
    again = run_sweep(PlannedSweep(config, cells, root), ALONE, fresh=True)
    (made,) = SweepFolder(root).finished().values()
    assert (first.ran, again.ran) == (1, 1)
    assert made.record.latency != kept.record.latency
    assert not list(root.glob(".partial-*"))


def test_the_last_batch_by_rows_is_what_that_many_rows_cost(tmp_path: Path) -> None:
    """FLOPs of a last batch of one, derived from a batch of two, against a run of batches of one."""
    text = PLAIN.replace("synthetic-textvqa", "synthetic-random").replace(
        "samples: 2", "samples: 3"
    )
    config, cells, root = cells_of(tmp_path, "last", text + "grid: {batch_size: [1, 2]}")
    one, two = run_sweep(PlannedSweep(config, cells, root), ALONE).rows
    assert one.flops is not None
    assert two.flops == 2 * one.flops
    assert two.flops_reference.value == one.flops


def test_a_last_batch_of_other_lengths_has_no_flops(tmp_path: Path) -> None:
    text = PLAIN.replace("synthetic-textvqa", "synthetic-scienceqa").replace(
        "max_input_len: 20", "max_input_len: 200"
    )
    config, cells, root = cells_of(tmp_path, "uneven", text + "grid: {batch_size: [1]}")
    (only,) = run_sweep(PlannedSweep(config, cells, root), ALONE).rows
    assert only.flops_reference.value is None
    assert "padded text" in str(only.flops_reference.reason)
