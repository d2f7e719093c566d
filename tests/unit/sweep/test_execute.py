"""Cells that fail, in the real loop: the runs below it are made to fail, each in its own way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from layerscope.config.plan import id_of
from layerscope.core.errors import DataError, EnvironmentProblem, ModelError
from layerscope.records import RunConfig
from layerscope.records.sweep import Cell
from layerscope.report.progress import ProgressReporter
from layerscope.runs.sweep_folder import SweepFolder
from layerscope.sweep import attempt as module
from layerscope.sweep.execute import execute
from layerscope.sweep.executor import Execution
from layerscope.sweep.models import KeptModel
from layerscope.sweep.verdict import verdict

QUIET = ProgressReporter(Console(), quiet=True)


def cell(batch: int, device: Any = "cuda") -> Cell:
    config = RunConfig(
        model="tiny", dataset="synthetic-textvqa", device=device, dtype="fp32", batch_size=batch
    )
    return Cell(id=id_of(config), settings={"batch_size": batch, "device": device}, config=config)


def run(
    monkeypatch: pytest.MonkeyPatch,
    root: Path,
    outcomes: dict[int, BaseException | None],
    cells: list[Cell],
    **options: Any,
) -> tuple[Execution, list[str]]:
    """`execute` over cells whose run raises what `outcomes` says of their batch size."""

    def profile(resolved: Any, *_: Any, **__: Any) -> None:
        problem = outcomes.get(resolved.config.batch_size)
        if problem is not None:
            raise problem

    monkeypatch.setattr(module, "profile", profile)
    said: list[str] = []
    return execute(cells, SweepFolder(root), QUIET, said.append, **options), said


def test_a_cell_that_fails_leaves_its_reason_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outcomes: dict[int, BaseException | None] = {
        1: EnvironmentProblem("generate() ran out of memory in phase decode"),
        2: DataError("textvqa: no Parquet file"),
        4: ValueError("something\nelse"),
    }
    cells = [cell(b, "cpu") for b in (1, 2, 4, 8)]
    found, said = run(monkeypatch, tmp_path, outcomes, cells)
    assert found.ran == (cells[3].id,)
    assert [f.exit_code for f in found.failed] == [3, 4, 1]
    assert found.failed[2].reason == "ValueError: something"
    kept = SweepFolder(tmp_path).failures()
    assert set(kept) == {c.id for c in cells[:3]}
    assert "Traceback" in (tmp_path / "failed" / f"{cells[2].id}.txt").read_text()
    assert not (tmp_path / "failed" / f"{cells[0].id}.txt").exists()
    assert any("failed: textvqa: no Parquet file" in line for line in said)


def test_a_failure_is_forgotten_once_the_cell_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cells = [cell(1, "cpu")]
    run(monkeypatch, tmp_path, {1: DataError("away")}, cells)
    assert SweepFolder(tmp_path).failures()
    run(monkeypatch, tmp_path, {}, cells)
    assert SweepFolder(tmp_path).failures() == {}


def test_after_a_lost_gpu_its_cells_wait_and_the_cpus_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lost = RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be …")
    cells = [cell(1), cell(2), cell(4), cell(8, "cpu")]
    found, _ = run(monkeypatch, tmp_path, {2: lost}, cells)
    assert found.ran == (cells[0].id, cells[3].id)
    assert [f.exit_code for f in found.failed] == [3, 3]
    assert found.failed[1].reason.startswith("not run: the GPU was lost in cell batch_size=2")


def test_out_of_memory_is_no_lost_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    full = torch.OutOfMemoryError("CUDA out of memory. CUDA error: out of memory")
    found, _ = run(monkeypatch, tmp_path, {1: full}, [cell(1), cell(2)])
    assert found.ran == (cell(2).id,)


def test_ctrl_c_ends_the_sweep_even_in_another_errors_clothes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for problem in (KeyboardInterrupt(), RuntimeError("interrupted in a callback")):
        with pytest.raises(KeyboardInterrupt):
            run(monkeypatch, tmp_path, {1: problem}, [cell(1)], interrupted=lambda: True)
    assert SweepFolder(tmp_path).failures() == {}


def test_the_last_line_counts_names_and_gives_the_first_ones_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outcomes: dict[int, BaseException | None] = {1: DataError("a"), 2: EnvironmentProblem("b")}
    found, _ = run(monkeypatch, tmp_path, outcomes, [cell(b, "cpu") for b in (1, 2, 4)])
    problem = verdict(found.failed, [], 3)
    assert problem is not None
    assert problem.exit_code == 4
    assert str(problem) == "2 of 3 cells have no run: batch_size=1 device=cpu: a (and 1 more)"
    only = verdict([], ["batch_size=1: off by 3 ns"], 3)
    assert only is not None
    assert only.exit_code == 5
    assert verdict([], [], 3) is None


def test_a_model_is_loaded_once_per_group_and_refused_twice_at_most() -> None:
    tries: list[int] = []

    def load(config: RunConfig, announce: Any) -> Any:
        tries.append(config.batch_size)
        raise ModelError("no such model")

    models = KeptModel(load)
    for batch in (1, 2, 4, 8):
        with pytest.raises(ModelError, match="no such model"):
            models(cell(batch).config, print)
    assert tries == [1, 2]
    assert models.loads == 0
