"""A log folder in, its runs out: where each lies, what its record says of it, which files it has.

Nothing here reads a trace or a table: a listing costs one walk of the folder and, for each run that
is new or changed, the head fields of its `run.json`.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import msgspec

from layerscope.core.files import (
    DAMAGED,
    PROVENANCE_FILE,
    REPLAY_FILE,
    RUN_FILE,
    RUN_FILES,
    WORK_FILE,
)
from layerscope.core.folder_file import is_there
from layerscope.records.run_record import LatencySample
from layerscope.report.beside_batch import beside_json
from layerscope.stats.beside_batch import beside_of
from layerscope.tab.log_folder import LogFolder

# What the tab may hand out of a run's folder, and nothing else: name in a request -> file.
FILES = {role: RUN_FILES[role] for role in ("layers", "steps", "findings", "trace")}

# What `layerscope.runs` reads of a run.
READ_FILES = (RUN_FILE, *FILES.values(), WORK_FILE, PROVENANCE_FILE, REPLAY_FILE)


class _ModelHead(msgspec.Struct):
    cls: str = ""


class _WorkloadHead(msgspec.Struct):
    dataset: str = ""


class _CaptureHead(msgspec.Struct):
    device: str = ""
    fp32_matmul: str = ""
    absent: dict[str, str] = {}


class _Head(msgspec.Struct):
    """The fields of a run's record that the tab shows.

    Read loosely on purpose: a record of an older or newer schema still lists, and the module list
    and raw samples, nine tenths of the file, are skipped without being built.
    """

    name: str = ""
    created_utc: str = ""
    config: dict[str, Any] | None = {}
    captured: _CaptureHead | None = None
    model: _ModelHead = msgspec.field(default_factory=_ModelHead)
    environment: dict[str, Any] = {}
    trace: dict[str, Any] | None = None
    account: dict[str, Any] | None = None
    ceilings: dict[str, Any] | None = None
    report: dict[str, Any] = {}
    workload: _WorkloadHead | None = None
    latency: msgspec.Raw = msgspec.Raw(b"[]")
    beside_batch: list[dict[str, Any]] = []  # made of the latter, which is then let go
    warnings: list[Any] = []


_SAMPLES = msgspec.json.Decoder(tuple[LatencySample, ...])
# What the page is told as the record has it.
_SHOWN = (
    "name",
    "created_utc",
    "environment",
    "trace",
    "account",
    "ceilings",
    "report",
    "warnings",
    "beside_batch",
)
_HEAD = msgspec.json.Decoder(_Head)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the log folder.

    Attributes:
        id: its path below the log folder, "." for the log folder itself; names it in requests.
        folder: where it lies.
        summary: what the page is told of it, ready for JSON.
    """

    id: str
    folder: Path
    summary: dict[str, Any]


class RunList:
    """The runs below one log folder. A record is read again only when its size or time changed."""

    def __init__(self, logdir: Path) -> None:
        self._log = LogFolder(logdir)
        self._known: dict[Path, tuple[tuple[int, int], _Head | str]] = {}
        self._lock = threading.Lock()  # TensorBoard answers requests in several threads

    def any(self) -> bool:
        """Whether there is at least one run; stops at the first."""
        return next(self._log.holding(RUN_FILE), None) is not None

    def all(self) -> list[Run]:
        """Every run, newest first by the time in its record; unreadable records come last."""
        with self._lock:
            runs = [self._run(folder) for folder in self._log.holding(RUN_FILE)]
            present = {run.folder for run in runs}
            self._known = {path: kept for path, kept in self._known.items() if path in present}
        runs.sort(key=lambda run: (run.summary["created_utc"], run.id), reverse=True)
        return runs

    def folder(self, run_id: str) -> Path | None:
        """This run's folder; None when there is no such run."""
        return self._log.folder(run_id, RUN_FILE)

    def open(self, path: Path) -> BufferedReader:
        """A file that `held` found, opened.

        Raises:
            OSError: it cannot be read, or is refused.
        """
        return self._log.open(path)

    def held(self, folder: Path, name: str) -> Path | None:
        """The file in a run's folder that `FILES` calls `name`; None when it has none."""
        return self._log.inside(folder / FILES[name]) if name in FILES else None

    def file(self, run_id: str, name: str) -> Path | None:
        """The file of this run that `FILES` calls `name`; None when there is no such run or file."""
        folder = self.folder(run_id)
        return self.held(folder, name) if folder is not None else None

    def stays_inside(self, folder: Path) -> bool:
        """Whether all that a reader takes from a run lies below the log folder."""
        taken = (folder / name for name in READ_FILES)
        return all(self._log.inside(path) for path in taken if is_there(path))

    def _run(self, folder: Path) -> Run:
        head = self._head(folder)
        problem = head if isinstance(head, str) else ""
        shown = _Head() if isinstance(head, str) else head
        run_id = self._log.id(folder)
        summary = {name: msgspec.to_builtins(getattr(shown, name)) for name in _SHOWN}
        summary |= {
            "id": run_id,
            "config": shown.config or _seen(shown),
            "absent": shown.captured.absent if shown.captured is not None else {},
            "name": shown.name or folder.resolve().name,
            "problem": problem,
            "files": [name for name, file in FILES.items() if self._log.inside(folder / file)],
        }
        return Run(id=run_id, folder=folder, summary=summary)

    def _head(self, folder: Path) -> _Head | str:
        path = folder / RUN_FILE
        try:
            stat = os.lstat(path)
            stamp = (stat.st_mtime_ns, stat.st_size)
            known = self._known.get(folder)
            if known is None or known[0] != stamp:
                known = (stamp, _read(self._log.read_json(path)))
                self._known[folder] = known
        except OSError as error:
            return f"{RUN_FILE} cannot be read ({error.strerror or error})"
        return known[1]


def _seen(head: _Head) -> dict[str, Any]:
    """What stands in place of a configuration: what a capture saw; nothing of a damaged record."""
    captured = head.captured
    if captured is None:
        return {}
    return {
        "model": f"{head.model.cls}, captured",
        "device": captured.device,
        "fp32_matmul": captured.fp32_matmul,
    }


def _beside(head: _Head) -> list[dict[str, Any]]:
    """What the host did before each batch; nothing of a capture, or of samples in another form."""
    if head.workload is None:
        return []
    try:
        samples = _SAMPLES.decode(head.latency)
    except DAMAGED:
        return []
    return beside_json(beside_of(samples, head.workload.dataset))


def _read(data: bytes) -> _Head | str:
    try:
        head = _HEAD.decode(data)
    except DAMAGED as error:
        return f"{RUN_FILE} is not a run record ({error})"
    head.beside_batch = _beside(head)
    head.latency = msgspec.Raw(b"[]")  # it would keep the text of the whole record
    return head
