"""A folder that the user named in, a run's folder of that very name out."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

from layerscope.core.errors import DataError, EnvironmentProblem, UsageError
from layerscope.core.files import RUN_FILE
from layerscope.core.whole_file import PARTIAL
from layerscope.records import RunRecord, load
from layerscope.write.folder import RunFolder


class ChosenFolder(RunFolder):
    """Context manager: as `RunFolder`, but the folder takes the name it was given and no other.

    An empty folder of that name becomes the run's. A capture that was saved there before gives way,
    once the new one is whole; nothing else does.

    Raises:
        UsageError: the folder holds something else, or is no folder.
        EnvironmentProblem: the place cannot be written, or the disk is full while inside.
    """

    remedy = "give save() another folder"

    def __init__(self, folder: Path) -> None:
        try:
            place = folder.resolve()
            _refuse_taken(place, folder)
        except (OSError, ValueError, RuntimeError) as error:
            why = getattr(error, "strerror", None) or error
            raise EnvironmentProblem(
                f"{folder}: no run can be written there ({why}); {self.remedy}."
            ) from None
        super().__init__(place.parent, place.name)

    def _reserve(self) -> None:
        for number in itertools.count(1):
            self.path = self._out / f"{PARTIAL}{number}-{self.name}"
            try:
                self.path.mkdir()
            except FileExistsError:
                continue
            return

    def _take_name(self) -> None:
        final = self._out / self.name
        if not final.exists():
            os.rename(self.path, final)
            return
        aside = self.path.with_name(f"{self.path.name}-before")
        os.rename(final, aside)
        try:
            os.rename(self.path, final)
        except OSError:
            os.rename(aside, final)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _refuse_taken(place: Path, shown: Path) -> None:
    """Leave alone what no capture wrote.

    Raises:
        UsageError: it is not empty, and not the folder of a capture.
    """
    if place == Path.cwd():
        raise UsageError(f"{shown}: the current folder; give save() the name of one in it.")
    if not place.exists():
        return
    if not place.is_dir():
        raise UsageError(f"{shown}: a file; give save() the name of a folder.")
    held = {path.name for path in place.iterdir()}
    if not held:
        return
    record = _capture_in(place)
    if record is None:
        raise UsageError(
            f"{shown}: a folder that is not empty and holds no saved capture; give save() the name of "
            "a new one."
        )
    others = sorted(held - {Path(name).parts[0] for name in record.files.values()})
    if others:
        raise UsageError(
            f"{shown}: a saved capture that also holds {others[0]}, which saving again would remove; "
            "give save() the name of a new folder."
        )


def _capture_in(folder: Path) -> RunRecord | None:
    """The record of the capture that was saved here; None where there is none."""
    if not (folder / RUN_FILE).is_file():
        return None
    try:
        record = load(folder)
    except DataError:
        return None
    return record if record.captured is not None else None
