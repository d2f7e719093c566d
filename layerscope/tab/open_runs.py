"""A run's folder in; its tables, its findings and windows of its trace out, as every reader has them."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from werkzeug import exceptions

from layerscope.core.cached import cached_property
from layerscope.core.errors import DataError, LayerscopeError
from layerscope.core.files import TRACE_FILE
from layerscope.core.folder_file import state_of
from layerscope.report.csv import lines_of_now, write_layers_csv, write_steps_csv
from layerscope.report.csv_lines import csv_text
from layerscope.report.findings import write_findings_json
from layerscope.runs.export import export_perfetto
from layerscope.runs.run import Run
from layerscope.tab.runs import READ_FILES
from layerscope.timeline.choice import Choice
from layerscope.timeline.window import Timeline

# The XL model's trace takes about 60 MB when read: enough to go to and fro between two runs. A trace of
# less than a megabyte takes a fifth of that at most, and many of them must not push a large one out.
_KEPT = 2
_SMALL_BYTES, _KEPT_SMALL = 1_000_000, 12
# So many traces are read at the same time: one slow one leaves room for others, and twenty do not fill
# the memory.
_READ_AT_ONCE = 2

_Stamp = tuple[tuple[str, int, int], ...]


class OpenRuns:
    """Opens a run when something is asked of it and keeps the last few; again when a file changed.

    Who asks for a run waits for whoever reads that run, and for nobody else once it is read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of what is kept; held for no longer than a look
        self._reading = threading.BoundedSemaphore(_READ_AT_ONCE)
        self._kept: OrderedDict[tuple[Path, _Stamp], _Opened] = OrderedDict()

    def file(self, folder: Path, name: str) -> bytes:
        """A table or the findings of a run, worked out from its trace as `layerscope layers` does.

        Args:
            name: `layers`, `steps` or `findings`.

        Raises:
            UnprocessableEntity: the run cannot be read.
        """
        with self._held(folder) as opened:
            if opened.has_file(name):
                return opened.file(name)
            with self._reading:
                return opened.file(name)

    def window(self, folder: Path, asked: Mapping[str, str]) -> bytes:
        """A window of the trace as JSON.

        Args:
            asked: `layer`, `phase`, `step` and `call`, each optional.

        Raises:
            BadRequest: a step or call that is no number.
            UnprocessableEntity: nothing fits the choice, or the trace cannot be read.
        """
        choice = Choice(
            layer=asked.get("layer") or None,
            phase=asked.get("phase") or None,
            step=_number(asked, "step"),
            call=_number(asked, "call"),
        )
        with self._held(folder) as opened:
            if not opened.has_timeline:
                with self._reading:
                    _ = opened.timeline
            return msgspec.json.encode(opened.timeline.window(choice))

    def perfetto(self, folder: Path) -> bytes:
        """The trace with named tracks, gzipped, as `layerscope export --perfetto` writes it.

        Raises:
            UnprocessableEntity: the trace cannot be read, or there is no place for the file.
        """
        with (
            self._held(folder) as opened,
            self._reading,
            TemporaryDirectory(prefix="layerscope-perfetto-") as made,
        ):
            return export_perfetto(opened.run, Path(made)).path.read_bytes()

    @contextmanager
    def _held(self, folder: Path) -> Iterator[_Opened]:
        """The run, which nobody else reads meanwhile; what cannot be read of it becomes an answer."""
        opened = self._opened(folder)
        with opened.lock:
            try:
                yield opened
            except LayerscopeError as error:
                raise exceptions.UnprocessableEntity(str(error)) from None

    def _opened(self, folder: Path) -> _Opened:
        key = (folder, _stamp(folder))
        with self._lock:
            found = self._kept.pop(key, None) or _Opened(folder)
            self._kept[key] = found
            for small, most in ((False, _KEPT), (True, _KEPT_SMALL)):
                alike = [kept for kept, opened in self._kept.items() if opened.small is small]
                for old in alike[:-most]:
                    del self._kept[old]
        return found


def written_table(path: Path, body: bytes) -> bytes:
    """A table of layers as its file has it; one of before there were kinds of layers with them.

    Args:
        body: what the file holds.

    Raises:
        UnprocessableEntity: an older table that cannot be read.
    """
    if b"layer_kind" in body.partition(b"\n")[0]:
        return body
    try:
        return csv_text(lines_of_now(path)).encode()
    except LayerscopeError as error:
        raise exceptions.UnprocessableEntity(str(error)) from None


class _Opened:
    """A run, and what the tab makes of it, each once; whoever asks it for anything holds `lock`."""

    def __init__(self, folder: Path) -> None:
        self.lock = threading.Lock()
        trace = state_of(folder / TRACE_FILE)
        self.small = trace is None or trace.st_size < _SMALL_BYTES
        self._folder = folder
        self._made: dict[str, bytes] = {}

    @cached_property
    def run(self) -> Run:
        return Run.open(self._folder)

    @property
    def has_timeline(self) -> bool:
        """Whether the trace has been read and laid out."""
        return "timeline" in self.__dict__

    def has_file(self, name: str) -> bool:
        """Whether this table has been made."""
        return name in self._made

    @cached_property
    def timeline(self) -> Timeline:
        return Timeline(self.run.workings)

    def file(self, name: str) -> bytes:
        if name not in self._made:
            with TemporaryDirectory(prefix="layerscope-table-") as folder:
                path = Path(folder) / name
                _WRITERS[name](self.run, path)
                self._made[name] = path.read_bytes()
        return self._made[name]


def _write_findings(run: Run, path: Path) -> None:
    found = run.findings
    if found is None:
        raise DataError(f"{run.place.shown}: {dict(run.absent)['findings']}.")
    write_findings_json(found.seen, found.not_judged, path)


_WRITERS: dict[str, Callable[[Run, Path], None]] = {
    "layers": lambda run, path: write_layers_csv(run.account.table, path),
    "steps": lambda run, path: write_steps_csv(run.account.steps, path),
    "findings": _write_findings,
}


def _stamp(folder: Path) -> _Stamp:
    """Names, times and sizes of all that is read of a run: another one where a file changed."""
    found = []
    for name in READ_FILES:
        try:
            stat = os.lstat(folder / name)
        except OSError:
            continue
        found.append((name, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _number(asked: Mapping[str, str], name: str) -> int | None:
    text = asked.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or len(text) > 9:
        raise exceptions.BadRequest(f"{name}: a whole number from 0 was expected.")
    return int(text)
