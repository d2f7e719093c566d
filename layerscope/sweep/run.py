"""A sweep's file and a folder in; its plan said, its missing cells run, its tables written, out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerscope import __version__
from layerscope.core.errors import LayerscopeError
from layerscope.core.files import SWEEP_TABLE_FILE
from layerscope.core.progress import Progress
from layerscope.records.sweep import Cell, CellFailure, SweepConfig, SweepFile, SweepRow
from layerscope.report.sweep.files import write_sweep_csv
from layerscope.runs.sweep_folder import (
    Finished,
    SweepFolder,
    check_same,
    invalidated,
    settings_text,
)
from layerscope.runs.sweep_places import read_places
from layerscope.runs.sweep_rows import rows_of
from layerscope.sweep.executor import Executor
from layerscope.sweep.lock import SweepLock

Say = Callable[[str], None]


@dataclass(frozen=True)
class PlannedSweep:
    """A sweep before it runs.

    Attributes:
        cells: from `layerscope.config.plan.plan` with `out` = `cells_path(root)`.
        root: its folder.
    """

    config: SweepConfig
    cells: tuple[Cell, ...]
    root: Path


@dataclass(frozen=True)
class Watcher:
    """Who waits for a sweep.

    Attributes:
        progress: told of every pass of every cell.
        say: takes one line at a time.
        interrupted: whether Ctrl-C was pressed, as in `execute`.
    """

    progress: Progress
    say: Say
    interrupted: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class SweepResult:
    """A sweep after one go.

    Attributes:
        rows: one per cell of the plan, in its order.
        problem: what the command ends with when a cell has no run; None when all is well.
        ran: how many cells ran in this go.
    """

    config: SweepConfig
    root: Path
    rows: tuple[SweepRow, ...]
    problem: LayerscopeError | None
    ran: int


def run_sweep(
    planned: PlannedSweep,
    watcher: Watcher,
    *,
    fresh: bool = False,
    executor: Executor | None = None,
    then: Callable[[SweepResult], None] = lambda result: None,
) -> SweepResult:
    """Run what is missing of a sweep; what is finished is kept and counts.

    Args:
        fresh: remove what is finished first.
        executor: runs the cells; None: this process does.
        then: takes the result while the folder is still locked; it writes the tables.

    Raises:
        EnvironmentProblem: another process writes to this folder, or it cannot be written.
        DataError: a file in it is damaged.
    """
    config, cells, root, say = planned.config, planned.cells, planned.root, watcher.say
    folder = SweepFolder(root)
    with SweepLock(root):
        left = folder.clear_partial()
        if left:
            say(f"removed {left} half-written folders of a sweep that was killed")
        if fresh:
            folder.clear()
        finished = folder.finished()
        _say_invalidated(folder, cells, finished, say)
        missing = _missing(cells, finished)
        folder.write_plan(SweepFile(layerscope=__version__, config=config, cells=cells))
        say_plan(config, cells, finished, missing, say)
        failures: tuple[CellFailure, ...] = ()
        ran = 0
        if missing:
            try:
                execution = (executor or _local())(
                    missing, folder, watcher.progress, say, interrupted=watcher.interrupted
                )
            except KeyboardInterrupt:
                _write_what_is_there(planned, folder)
                raise
            ran = len(execution.ran)
            place = {cell.id: index for index, cell in enumerate(cells)}
            failures = tuple(sorted(execution.failed, key=lambda failed: place[failed.id]))
            finished = folder.finished()
        rows = rows_of(cells, finished, folder.failures(), read_places(root).cells, root=root)
        problem = _problem(failures, rows, len(cells))
        result = SweepResult(config=config, root=root, rows=rows, problem=problem, ran=ran)
        then(result)
        return result


def _write_what_is_there(planned: PlannedSweep, folder: SweepFolder) -> None:
    """The table of a sweep that was stopped: what ran, and what did not yet."""
    finished = folder.finished()
    if finished:
        root = planned.root
        places = read_places(root).cells
        rows = rows_of(planned.cells, finished, folder.failures(), places, root=root)
        write_sweep_csv(rows, planned.config.axes, root / SWEEP_TABLE_FILE)


def _local() -> Executor:
    # Imported when cells run: it imports torch, which a plan does without.
    from layerscope.sweep.execute import execute

    return execute


def cells_path(root: Path) -> Path:
    """Where a sweep's run folders go."""
    return SweepFolder(root).cells


def say_plan(
    config: SweepConfig,
    cells: Sequence[Cell],
    finished: dict[str, Finished],
    missing: Sequence[Cell],
    say: Say,
) -> None:
    """The plan, cell by cell, and an estimate of the time."""
    from layerscope.config.plan import load_key
    from layerscope.sweep.estimate import batches_of, estimate_text

    loads = len({load_key(cell.config) for cell in missing})
    say(
        f"sweep {config.name}: {len(cells)} cells, {len(cells) - len(missing)} finished, "
        f"{len(missing)} to run with {loads} model loads"
    )
    to_run = {cell.id for cell in missing}
    for cell in cells:
        state = f"{batches_of(cell)} batches and repeats" if cell.id in to_run else "finished"
        say(f"  {cell.id}  {settings_text(cell)}: {state}")
    done = {cell.id: (cell, finished[cell.id]) for cell in cells if cell.id in finished}
    say(estimate_text(missing, done))


def _missing(cells: Sequence[Cell], finished: dict[str, Finished]) -> tuple[Cell, ...]:
    for cell in cells:
        if cell.id in finished:
            check_same(cell, finished[cell.id])
    return tuple(cell for cell in cells if cell.id not in finished)


def _say_invalidated(
    folder: SweepFolder, cells: tuple[Cell, ...], finished: dict[str, Finished], say: Say
) -> None:
    previous = folder.previous()
    if previous is None:
        return
    lines = invalidated(previous, cells, set(finished))
    if lines:
        say(
            f"the configuration changed: {len(lines)} finished cells are not in this plan; their "
            "folders stay and are left out of the tables:"
        )
        for line in lines:
            say(f"  {line}")
    if previous.layerscope != __version__ and finished:
        say(
            f"the finished cells were measured by layerscope {previous.layerscope} or earlier, "
            f"this is {__version__}; --fresh measures all of them again"
        )


def _problem(
    failures: Sequence[CellFailure], rows: Sequence[SweepRow], total: int
) -> LayerscopeError | None:
    from layerscope.sweep.verdict import verdict

    broken = [
        f"{' '.join(f'{k}={v}' for k, v in row.settings.items()) or row.cell}: {row.reason}"
        for row in rows
        if row.status == "accounting failed"
    ]
    return verdict(failures, broken, total)
