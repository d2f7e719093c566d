"""What every executor of a sweep is: missing cells in, finished run folders and reasons out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from layerscope.core.progress import Progress
from layerscope.records.sweep import Cell, CellFailure
from layerscope.runs.sweep_folder import SweepFolder


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


class Executor(Protocol):
    """Runs cells; each that is done has its folder in the sweep's, each other one its reason."""

    def __call__(
        self,
        cells: Sequence[Cell],
        folder: SweepFolder,
        progress: Progress,
        announce: Callable[[str], None],
        *,
        interrupted: Callable[[], bool],
    ) -> Execution:
        """Run the cells. A cell that fails leaves its reason and the others run.

        Raises:
            EnvironmentProblem: nothing can run at all, or the sweep's folder cannot be written.
        """
