"""Cells in, finished run folders and reasons out, in this process: one load per model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from layerscope.config.plan import by_model
from layerscope.core.errors import EnvironmentProblem
from layerscope.core.progress import Progress
from layerscope.passes.load import Announce
from layerscope.records.sweep import Cell, CellFailure
from layerscope.runs.sweep_folder import SweepFolder, settings_text
from layerscope.sweep.attempt import Missed, attempt, failure, is_lost
from layerscope.sweep.executor import Execution
from layerscope.sweep.models import KeptModel, free_memory
from layerscope.write.folder import RunFolder


def execute(
    cells: Sequence[Cell],
    folder: SweepFolder,
    progress: Progress,
    announce: Announce,
    *,
    models: KeptModel | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Execution:
    """Run the cells, grouped by model. A cell that fails leaves its reason and the next one runs.

    Args:
        cells: those that are missing.
        interrupted: whether Ctrl-C was pressed, for libraries that turn it into another error.

    Raises:
        EnvironmentProblem: not even a reason can be written to the folder.
    """
    models = models or KeptModel()
    ran: list[str] = []
    failed: list[CellFailure] = []
    lost: CellFailure | None = None
    began = time.monotonic()
    for number, cell in enumerate(by_model(cells), 1):
        announce(f"cell {number} of {len(cells)}: {settings_text(cell)}")
        missed: Missed | None
        if lost is not None and cell.config.device == "cuda":
            missed = Missed(_not_run(cell, lost))
        else:
            made = RunFolder(Path(cell.config.out), folder.name_of(cell))
            missed = attempt(cell, made, models, progress, announce, interrupted)
            if missed is None:
                ran.append(cell.id)
                folder.forget_failure(cell.id)
                _say_left(announce, began, number, len(cells))
                continue
            if is_lost(missed.failure.reason) and cell.config.device == "cuda":
                lost = missed.failure
        failed.append(missed.failure)
        announce(f"cell {number} of {len(cells)} failed: {missed.failure.reason}")
        folder.write_failure(missed.failure, missed.traceback)
        # A cell that ran out of memory must not leave its cache to the next one.
        free_memory()
    models.drop()
    return Execution(ran=tuple(ran), failed=tuple(failed), loads=models.loads)


def _not_run(cell: Cell, lost: CellFailure) -> CellFailure:
    said = " ".join(f"{name}={value}" for name, value in lost.settings.items())
    reason = (
        f"not run: the GPU was lost in cell {said or lost.id}; start the same command again for a "
        "new process"
    )
    return failure(cell, reason, EnvironmentProblem.exit_code)


def _say_left(announce: Announce, began: float, done: int, count: int) -> None:
    seconds = time.monotonic() - began
    if done < count:
        left = seconds / done * (count - done)
        announce(f"{done} of {count} cells in {seconds:,.0f} s; about {left:,.0f} s left")
