"""A path in, where a run's files lie out: in a run folder, or as traces of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layerscope.core.errors import DataError
from layerscope.core.files import PLAN_FILE, RUN_FILE, TRACE_FILE
from layerscope.core.folder_file import is_there, named_file

_TRACE_ENDINGS = (".json", ".json.gz", ".zip")


@dataclass(frozen=True)
class Place:
    """Where the files of a run lie.

    Attributes:
        shown: the path as the user gave it, for messages.
        folder: of the run; None for a trace that lies in none.
        traces: one; several for the ranks of a distributed run; none where it was thrown away.
    """

    shown: Path
    folder: Path | None
    traces: tuple[Path, ...]


def find_run(paths: Sequence[Path]) -> Place:
    """Find what these paths mean.

    A run folder's own trace means the run, unless it stands among others. A folder that is no run means
    the traces in it, and several paths the ranks of one distributed run.

    Raises:
        DataError: a folder that holds neither a run nor a trace, or a run folder among several paths.
    """
    traces: list[Path] = []
    for path in paths:
        folder = _run_folder(path)
        if folder is not None and len(paths) > 1:
            if path.is_file():  # of a process that `layerscope run` followed, say
                traces.append(path)
                continue
            raise DataError(
                f"{path}: a run folder; only traces of ranks can be summed, also its {TRACE_FILE}."
            )
        if folder is not None:
            trace = folder / TRACE_FILE
            return Place(path, folder, (trace,) if is_there(trace) else ())
        traces += _traces_in(path) if path.is_dir() else [named_file(path)]
    return Place(paths[0], None, tuple(traces))


def _run_folder(path: Path) -> Path | None:
    folder = path if path.is_dir() else path.parent if path.name == TRACE_FILE else None
    return folder if folder is not None and is_there(folder / RUN_FILE) else None


def _traces_in(folder: Path) -> list[Path]:
    if is_there(folder / PLAN_FILE):
        raise DataError(
            f"{folder}: a sweep's folder; give one of the runs below it, or see `layerscope report`."
        )
    inside = sorted(
        path
        for path in folder.iterdir()
        if path.name.endswith(_TRACE_ENDINGS) and not path.is_dir()
    )
    if not inside:
        raise DataError(
            f"{folder}: no {RUN_FILE} in it, so it is no run folder, and no trace "
            f"({', '.join(_TRACE_ENDINGS)})."
        )
    return inside
