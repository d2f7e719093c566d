"""A cell and the models that are kept in; its run folder, or why it has none, out."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from layerscope.config.resolve import Resolved
from layerscope.core.errors import EnvironmentProblem, LayerscopeError
from layerscope.core.progress import Progress
from layerscope.core.words import kind_and_first_line
from layerscope.passes.load import Announce, Load
from layerscope.passes.profile import Place, profile
from layerscope.records.sweep import Cell, CellFailure
from layerscope.report.tensorboard.sweep_events import is_whole
from layerscope.write.folder import RunFolder

# What CUDA says when the device or the process's context on it is gone.
_LOST_MARK = "CUDA error"


@dataclass(frozen=True)
class Missed:
    """A cell that has no run. `traceback` is empty unless the error is one layerscope does not know."""

    failure: CellFailure
    traceback: str = ""


def attempt(
    cell: Cell,
    folder: RunFolder,
    models: Load,
    progress: Progress,
    announce: Announce,
    interrupted: Callable[[], bool],
) -> Missed | None:
    """Run one cell; None when it is done.

    Args:
        folder: that the run is written to; made here.
        models: yields the model, kept from cell to cell.
        interrupted: whether Ctrl-C was pressed, for libraries that turn it into another error.
    """
    resolved = Resolved(config=cell.config, choices=cell.choices, given=frozenset(cell.given))
    try:
        place = Place(folder=folder, step=step_of(cell))
        profile(resolved, progress, announce, load=models, place=place)
    except LayerscopeError as error:
        if interrupted():
            raise KeyboardInterrupt from None
        return Missed(failure(cell, str(error), error.exit_code))
    except Exception as error:
        # The border between one cell and the sweep: whatever a data set, a library or a device
        # raises is this cell's reason, and its traceback is kept.
        if interrupted():
            raise KeyboardInterrupt from None
        reason = kind_and_first_line(error, longest=None)
        code = EnvironmentProblem.exit_code if is_lost(reason) else LayerscopeError.exit_code
        return Missed(failure(cell, reason, code), traceback.format_exc())
    return None


def failure(cell: Cell, reason: str, code: int) -> CellFailure:
    """Why this cell has no run, as of now."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return CellFailure(
        id=cell.id, reason=reason, exit_code=code, when_utc=now, settings=cell.settings
    )


def is_lost(reason: str) -> bool:
    """Whether the reason says that the process can use its GPU no more."""
    return _LOST_MARK in reason and "out of memory" not in reason


def step_of(cell: Cell) -> int:
    """Where a cell stands in TensorBoard's charts: its first axis that is a whole number."""
    return next((value for value in cell.settings.values() if is_whole(value)), 0)
