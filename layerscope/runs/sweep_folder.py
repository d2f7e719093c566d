"""A sweep's folder in, what is finished, failed or left over in it out; and the same way back.

OUT/sweep.json      the plan it was made by
OUT/cells/          one run folder per finished cell; its name ends in the cell's id
OUT/failed/         one file per cell that could not be run, with the reason
OUT/nodes.json      where cells were measured, of a sweep on a cluster
OUT/sweep.lock      held while a process writes
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from layerscope.config.plan import same_run
from layerscope.core.collector_pause import collector_at_rest
from layerscope.core.errors import DataError, EnvironmentProblem
from layerscope.core.files import (
    CELLS_FOLDER,
    FAILED_FOLDER,
    PLACES_FILE,
    PLAN_FILE,
    RUN_FILE,
    json_text,
)
from layerscope.core.folder_file import read_json, read_json_if_there, state_of
from layerscope.core.run_name import run_name
from layerscope.core.whole_file import PARTIAL, whole_file
from layerscope.records import RunConfig, RunRecord, load
from layerscope.records.sweep import Cell, CellFailure, SweepFile

_ID = re.compile(r"-([0-9a-f]{12})(?:-\d+)?$")


@dataclass(frozen=True)
class Finished:
    """A cell whose run folder has its final name. `seconds`: about how long it took, if known."""

    folder: Path
    record: RunRecord
    seconds: float | None


class SweepFolder:
    """Reads and writes one sweep's folder. Whoever writes holds the `SweepLock`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cells = root / CELLS_FOLDER
        self._failed = root / FAILED_FOLDER

    def finished(self) -> dict[str, Finished]:
        """Cell id -> its run, whatever plan it belonged to. Half-written folders do not count.

        Raises:
            DataError: a finished folder's record cannot be read or is not the run its name says.
        """
        found: dict[str, Finished] = {}
        if not self.cells.is_dir():
            return found
        _refuse_link(self.cells)
        # Records live until the end: the collector would scan those of thousands of cells in vain.
        with collector_at_rest():
            for path in sorted(self.cells.iterdir()):
                named = _ID.search(path.name)
                if path.name.startswith(".") or named is None or not path.is_dir():
                    continue
                _refuse_link(path)
                record = load(path)
                found[named[1]] = Finished(path, record, _seconds(record, path))
        return found

    def name_of(self, cell: Cell) -> str:
        """The name of the run folder that this cell gets now."""
        return f"{run_name(cell.config, sized='image_size' in cell.given)}-{cell.id}"

    def staging(self) -> Path:
        """A new folder inside that counts as half-written, for cells made elsewhere to arrive in."""
        self.cells.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{PARTIAL}arriving-", dir=self.root))

    def clear_partial(self) -> int:
        """Remove what a killed process left half-written; returns how many there were."""
        places = (self.root, self.cells, self._failed)
        left = [path for place in places for path in place.glob(f"{PARTIAL}*")]
        for path in left:
            if path.is_dir():
                shutil.rmtree(path)
            else:  # a table or a reason that was being written
                path.unlink()
        return len(left)

    def clear(self) -> None:
        """Remove all cells and failures, for a sweep that starts anew.

        Each is given a partial's name first: a kill in the middle leaves nothing that looks whole.
        """
        for path in (self.cells, self._failed):
            if path.is_dir():
                path.rename(self.root / f"{PARTIAL}{path.name}")
        (self.root / PLACES_FILE).unlink(missing_ok=True)
        self.clear_partial()

    def previous(self) -> SweepFile | None:
        """The plan that this folder was last written by; None for a new folder.

        Raises:
            DataError: `sweep.json` is damaged.
        """
        return read_json_if_there(self.root / PLAN_FILE, SweepFile, "a plan of a sweep")

    def write_plan(self, plan: SweepFile) -> None:
        """Write `sweep.json` in one step."""
        write_part(self.root / PLAN_FILE, plan)

    def failures(self) -> dict[str, CellFailure]:
        """Cell id -> why it could not be run.

        Raises:
            DataError: a file in `failed/` is damaged.
        """
        found: dict[str, CellFailure] = {}
        for path in sorted(self._failed.glob("*.json")):
            if not path.name.startswith("."):  # one that a killed process left half-written
                failure = read_json(path, CellFailure, "a failure of a cell")
                found[failure.id] = failure
        return found

    def write_failure(self, failure: CellFailure, traceback: str = "") -> None:
        """Keep the reason; `traceback` goes beside it for what layerscope does not know."""
        write_part(self._failed / f"{failure.id}.json", failure)
        if traceback:
            write_part(self._failed / f"{failure.id}.txt", traceback)

    def forget_failure(self, cell_id: str) -> None:
        """The cell is done after all."""
        for kind in ("json", "txt"):
            with contextlib.suppress(FileNotFoundError):
                (self._failed / f"{cell_id}.{kind}").unlink()


def _refuse_link(folder: Path) -> None:
    """A sweep that someone sent could lead to any run of this machine's by a link."""
    if folder.is_symlink():
        raise DataError(f"{folder}: a link; the folders of a sweep may not be links.")


def check_same(cell: Cell, finished: Finished) -> None:
    """A run folder must hold the run that its name promises.

    Raises:
        DataError: it holds another, after a move or an edit by hand.
    """
    if not same_run(cell.config, finished.record.planned_config):
        raise DataError(
            f"{finished.folder}: its {RUN_FILE} is of another run than its name says; move the "
            "folder away and start the same command again."
        )


def changes(earlier: RunConfig, now: RunConfig) -> str:
    """What differs between two runs, in words: `max_new_tokens 20 -> 10`."""
    names = [n for n in RunConfig.__dataclass_fields__ if n != "out"]
    return ", ".join(
        f"{name} {getattr(earlier, name)} -> {getattr(now, name)}"
        for name in names
        if getattr(earlier, name) != getattr(now, name)
    )


def invalidated(previous: SweepFile, cells: tuple[Cell, ...], kept: set[str]) -> list[str]:
    """One line per finished cell of the earlier plan that this plan has no use for."""
    now = {cell.id for cell in cells}
    at = {tuple(sorted(cell.settings.items(), key=str)): cell for cell in cells}
    lines = []
    for cell in previous.cells:
        if cell.id in now or cell.id not in kept:
            continue
        heir = at.get(tuple(sorted(cell.settings.items(), key=str)))
        why = changes(cell.config, heir.config) if heir is not None else "no longer in the plan"
        lines.append(f"{settings_text(cell)}: {why}")
    return lines


def settings_text(cell: Cell) -> str:
    """The cell in words: `batch_size=4 dataset=coco`."""
    return " ".join(f"{name}={value}" for name, value in cell.settings.items()) or cell.id


def _seconds(record: RunRecord, folder: Path) -> float | None:
    """From the run's start to its record's writing; None where the clock does not tell."""
    try:
        began = datetime.fromisoformat(record.created_utc)
        state = state_of(folder / RUN_FILE)
        if state is None:
            return None
        ended = datetime.fromtimestamp(state.st_mtime, UTC)
    except (ValueError, OSError):
        return None
    seconds = (ended - began).total_seconds()
    return seconds if 0 < seconds < 24 * 3600 else None


def write_part(path: Path, value: object) -> None:
    """Write a text as it is and anything else as JSON; a kill leaves the old file or the new one.

    Raises:
        EnvironmentProblem: the disk is full or cannot be written.
    """
    text = value if isinstance(value, str) else json_text(value)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_bytes(text.encode() + b"\n")
    except OSError as error:
        raise EnvironmentProblem(
            f"{path}: cannot be written ({error.strerror}); finished cells are kept, free the disk "
            "and start the same command again."
        ) from None
