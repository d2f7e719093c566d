"""`layerscope profile` as a user runs it, on the bundled model, and what its files add up to."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from statistics import median

import pytest
from support.command import layerscope

from layerscope.core.units import ms_three
from layerscope.records import load
from layerscope.runs.run import Run

BATCH, STEPS = 2, 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    done = layerscope(
        "profile", "--model", "tiny", "--device", "cpu", "--batch", BATCH, "--samples", 5,
        "--warmup", 1, "--max-new-tokens", STEPS, "--measure-limit-s", 0.1, "--out", out, "-v",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = out.iterdir()
    (folder / "stdout.txt").write_text(done.stdout)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_folder_holds_what_was_promised(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert {
        "run.json",
        "layers.csv",
        "layers.parquet",
        "kernels.csv",
        "operators.csv",
        "steps.csv",
        "trace.json.gz",
    } <= names
    assert any(name.startswith("events.out.tfevents.") for name in names)
    assert all((run / name).is_file() for name in load(run).files.values())
    assert {"figures/phases.svg", "findings.json", "work.json"} <= set(load(run).files.values())
    assert load(run).files["tb_profiler"].endswith(".pt.trace.json.gz")


def test_export_derives_the_very_file_that_profile_wrote(run: Path) -> None:
    """Under the same name too: the plugin would list a second one as a second span of the run."""
    written = run / load(run).files["tb_profiler"]
    before = gzip.decompress(written.read_bytes())
    written.unlink()
    assert layerscope("export", run, "--tb-profiler").returncode == 0
    assert [path.name for path in run.glob("*.pt.trace.json.gz")] == [written.name]
    assert gzip.decompress(written.read_bytes()) == before


def test_the_columns_of_layers_csv_add_up_to_run_json(run: Path) -> None:
    record = load(run)
    assert record.account is not None
    table = rows(run / "layers.csv")
    total = sum(Decimal(row["cpu_self_us"]) for row in table)
    assert total == Decimal(f"{record.account.host_window_us:.3f}")
    assert {row["gpu_self_us"] for row in table} == {""}
    roots = [row for row in table if row["layer"] == "generate"]
    outside = [row for row in table if row["layer"].startswith("(")]
    assert sum(Decimal(r["cpu_total_us"]) for r in (*roots, *outside)) == total


def test_what_comes_before_a_batch_has_rows_of_its_own(run: Path) -> None:
    """On the screen of both verbs, from the raw times in run.json; in no row of the account."""
    timed = [
        s for s in load(run).latency if s.full and not s.warmup and s.preprocess_ns is not None
    ]
    assert len(timed) == 2
    wanted = {
        "preprocessing": median(s.preprocess_ns or 0 for s in timed),
        "copy to the device": median(s.copy_ns for s in timed),
    }
    again = layerscope("layers", run).stdout
    for screen in ((run / "stdout.txt").read_text(), again):
        for name, ns in wanted.items():
            line = next(line for line in screen.splitlines() if line.startswith(f"{name} "))
            assert f" {ms_three(round(ns))} " in line
    assert {row["phase"] for row in rows(run / "layers.csv")}.isdisjoint(wanted)


def test_every_total_is_its_self_and_its_children(run: Path) -> None:
    table = [row for row in rows(run / "layers.csv") if not row["layer"].startswith("(")]
    below: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in table:
        if row["layer"] != "generate":
            above = row["layer"].rpartition(".")[0] or "generate"
            below[above, row["phase"]] += Decimal(row["cpu_total_us"])
    for row in table:
        expected = Decimal(row["cpu_self_us"]) + below[row["layer"], row["phase"]]
        assert Decimal(row["cpu_total_us"]) == expected, row["layer"]


def test_calls_follow_the_structure_and_the_steps(run: Path) -> None:
    record = load(run)
    assert record.trace is not None
    assert record.trace.decoder_steps == STEPS
    assert max(record.trace.new_tokens) == STEPS
    calls: dict[str, int] = defaultdict(int)
    for row in rows(run / "layers.csv"):
        calls[row["layer"]] += int(row["calls"])
    assert calls["vision_model.embeddings.patch_embedding"] == 1
    assert calls["language_model.decoder.block.0"] == STEPS
    assert calls["language_model.decoder.block.0.layer.1.EncDecAttention.k"] == 1
    account = Run.open(run).account
    assert account.table.expected_calls is not None
    named = {module.fqn for module in record.model.modules if module.fqn}
    assert set(account.table.expected_calls) == named | {"generate"}
    account.table.check()


def test_the_steps_are_the_decoders(run: Path) -> None:
    steps = rows(run / "steps.csv")
    assert [row["phase"] for row in steps] == ["prefill", *["decode"] * (STEPS - 1)]


def test_the_partial_batch_is_kept_out_of_latency(run: Path) -> None:
    record = load(run)
    measured = [s for s in record.latency if not s.warmup]
    once = [(s.size, s.full) for s in measured if s.repeat == 0]
    assert once == [(2, True), (2, True), (1, False)]
    assert all(s.full and s.preprocess_ns is None for s in measured if s.repeat)
    assert record.latency_stopped
    assert len(record.predictions) == 5
    full = [s.generate_ns for s in measured if s.full]
    assert record.report.latency.value == pytest.approx(median(full) / 1e9)


def test_operators_inside_a_layer_do_not_exceed_its_time(run: Path) -> None:
    own: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in rows(run / "operators.csv"):
        own[row["layer"], row["phase"]] += Decimal(row["cpu_self_us"])
    for row in rows(run / "layers.csv"):
        key = (row["layer"], row["phase"])
        if key in own:
            assert own[key] == Decimal(row["op_self_us"]), key
            assert own[key] <= Decimal(row["cpu_self_us"]), key


def test_layers_recomputes_the_same_table_from_the_files(run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.csv"
    done = layerscope("layers", run, "--csv", again)
    assert done.returncode == 0, done.stderr
    assert again.read_bytes() == (run / "layers.csv").read_bytes()


def test_the_screen_shows_the_account(run: Path) -> None:
    shown = (run / "stdout.txt").read_text()
    for part in ("by phase", "by group", "top 10 of", "difference 0 ns", "times as long"):
        assert part in shown
    assert "pixel_values 2 x 3 x 224 x 224" in shown
    assert "\x1b[" not in shown  # no colours where there is no terminal


def test_quiet_prints_the_line_and_the_folder(tmp_path: Path) -> None:
    done = layerscope(
        "profile", "--model", "tiny", "--device", "cpu", "--batch", 1, "--samples", 1,
        "--warmup", 0, "--max-new-tokens", 1, "--measure-limit-s", 0.1, "--out", tmp_path, "--quiet",
    )  # fmt: skip
    assert done.returncode == 0
    first, second = done.stdout.splitlines()
    assert first.startswith("host ")
    assert Path(second).is_dir()
    assert done.stderr == ""
