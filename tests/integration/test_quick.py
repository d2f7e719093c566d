"""`--quick` gives the account and leaves the rest out by name; `--complete` measures it there."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from support.command import layerscope

from layerscope.records import RunRecord, load

_RUN = (
    "--model", "tiny", "--device", "cpu", "--batch", 2, "--samples", 4, "--max-new-tokens", 3,
    "--warmup", 1, "--measure-limit-s", 0.3, "--quiet",
)  # fmt: skip


def _sums(folder: Path) -> tuple[int, RunRecord]:
    record = load(folder)
    with (folder / "layers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return sum(round(float(row["cpu_self_us"]) * 1000) for row in rows), record


@pytest.mark.slow
def test_a_quick_run_and_what_completes_it(tmp_path: Path) -> None:
    done = layerscope("profile", *_RUN, "--quick", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    total_ns, quick = _sums(folder)
    assert quick.account is not None
    assert total_ns == round((quick.account.host_window_us or 0) * 1000)
    assert "left out by --quick" in (quick.report.energy.reason or "")
    assert quick.first_token == ()
    assert not (folder / "figures").exists()
    assert {"energy", "trace", "count"} <= {part.name for part in quick.command}
    done = layerscope("profile", "--complete", folder, "--quiet", "--timings")
    assert done.returncode == 0, done.stderr
    assert "generate() calls" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    total_ns, whole = _sums(folder)
    assert whole.account is not None
    assert total_ns == round((whole.account.host_window_us or 0) * 1000)
    assert whole.name == folder.name
    assert whole.profiled.batch_size == 2
    assert not whole.profiled.quick
    assert len(whole.first_token) > 0
    assert (folder / "figures").is_dir()
    assert whole.report.flops == quick.report.flops
    assert "--quick" not in (whole.report.energy.reason or "")


def test_a_run_has_its_configuration(tmp_path: Path) -> None:
    for more in (("--batch", "2"), ("--config", "reference/device")):
        done = layerscope("profile", "--complete", tmp_path, *more)
        assert done.returncode == 2
        assert f"leave out {'--config' if more[0] == '--config' else '--batch-size'}" in done.stderr
    done = layerscope("profile", "--complete", tmp_path / "none")
    assert done.returncode not in (0, 1)
    assert len(done.stderr.strip().splitlines()) == 1
    done = layerscope("profile", "--model", "tiny", "--quick", "--energy-per-layer", "blocks")
    assert done.returncode == 2
    assert "choose one" in done.stderr
