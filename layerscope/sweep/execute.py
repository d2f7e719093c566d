"""Cells in, finished run folders and reasons out: what is missing is run, one load per model."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from layerscope.config.resolve import Resolved
from layerscope.errors import EnvironmentProblem, LayerscopeError
from layerscope.records.sweep import Cell, CellFailure
from layerscope.report.progress import ProgressReporter
from layerscope.report.tensorboard.sweep_events import is_whole
from layerscope.run.load import Announce
from layerscope.run.profile import FinishedRun, profile
from layerscope.sweep.folder import SweepFolder, settings_text
from layerscope.sweep.models import KeptModel, free_memory
from layerscope.sweep.plan import by_model

# What CUDA says when the device or the process's context on it is gone.
_LOST_MARK = "CUDA error"


@dataclass(frozen=True)
class Execution:
    """What happened in one go.

    Attributes:
        ran: ids of the cells that were finished now.
        failed: those that were not, in the order tried.
        loads: how many models were loaded.
    """

    ran: tuple[str, ...]
    failed: tuple[CellFailure, ...]
    loads: int


def run_cell(
    cell: Cell,
    folder: SweepFolder,
    models: KeptModel,
    progress: ProgressReporter,
    announce: Announce,
) -> FinishedRun:
    """One cell: a resolved configuration and the model it runs on in, its run folder out.

    Raises:
        LayerscopeError: as `layerscope.run.profile.profile`.
    """
    resolved = Resolved(config=cell.config, choices=cell.choices)
    return profile(
        resolved,
        progress,
        announce,
        load=models,
        name=folder.name_of(cell),
        single=False,
        step=step_of(cell),
    )


def step_of(cell: Cell) -> int:
    """Where a cell stands in TensorBoard's charts: its first axis that is a whole number."""
    return next((value for value in cell.settings.values() if is_whole(value)), 0)


def execute(
    cells: Sequence[Cell],
    folder: SweepFolder,
    progress: ProgressReporter,
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
        if lost is not None and cell.config.device == "cuda":
            failure, trace = _not_run(cell, lost), ""
        else:
            outcome = _attempt(cell, folder, models, progress, announce, interrupted)
            if outcome is None:
                ran.append(cell.id)
                folder.forget_failure(cell.id)
                _say_left(announce, began, number, len(cells))
                continue
            failure, trace = outcome
            if _is_lost(failure.reason) and cell.config.device == "cuda":
                lost = failure
        failed.append(failure)
        announce(f"cell {number} of {len(cells)} failed: {failure.reason}")
        folder.write_failure(failure, trace)
        # A cell that ran out of memory must not leave its cache to the next one.
        free_memory()
    models.drop()
    return Execution(ran=tuple(ran), failed=tuple(failed), loads=models.loads)


def _attempt(
    cell: Cell,
    folder: SweepFolder,
    models: KeptModel,
    progress: ProgressReporter,
    announce: Announce,
    interrupted: Callable[[], bool],
) -> tuple[CellFailure, str] | None:
    """None when the cell is done, else why not and the traceback of an unknown error."""
    try:
        run_cell(cell, folder, models, progress, announce)
    except LayerscopeError as error:
        if interrupted():
            raise KeyboardInterrupt from None
        return _failure(cell, str(error), error.exit_code), ""
    except Exception as error:
        # The border between one cell and the sweep: whatever a data set, a library or a device
        # raises is this cell's reason, and its traceback is kept.
        if interrupted():
            raise KeyboardInterrupt from None
        first = next(iter(str(error).splitlines()), "")
        reason = f"{type(error).__name__}: {first}".rstrip(": ")
        code = EnvironmentProblem.exit_code if _is_lost(reason) else LayerscopeError.exit_code
        return _failure(cell, reason, code), traceback.format_exc()
    return None


def _failure(cell: Cell, reason: str, code: int) -> CellFailure:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return CellFailure(
        id=cell.id, reason=reason, exit_code=code, when_utc=now, settings=cell.settings
    )


def _not_run(cell: Cell, lost: CellFailure) -> CellFailure:
    said = " ".join(f"{name}={value}" for name, value in lost.settings.items())
    reason = (
        f"not run: the GPU was lost in cell {said or lost.id}; start the same command again for a "
        "new process"
    )
    return _failure(cell, reason, EnvironmentProblem.exit_code)


def _is_lost(reason: str) -> bool:
    return _LOST_MARK in reason and "out of memory" not in reason


def _say_left(announce: Announce, began: float, done: int, count: int) -> None:
    seconds = time.monotonic() - began
    if done < count:
        left = seconds / done * (count - done)
        announce(f"{done} of {count} cells in {seconds:,.0f} s; about {left:,.0f} s left")
