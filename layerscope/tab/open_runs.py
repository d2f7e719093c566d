"""A run's folder in; its tables, its findings and windows of its trace out, as every reader has them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from werkzeug import exceptions

from layerscope.core.errors import DataError, LayerscopeError
from layerscope.report.csv import lines_of_now, write_layers_csv, write_steps_csv
from layerscope.report.csv_lines import csv_text
from layerscope.report.findings import write_findings_json
from layerscope.runs.export import export_perfetto
from layerscope.runs.run import Run
from layerscope.tab.runs import READ_FILES
from layerscope.timeline.choice import Choice
from layerscope.timeline.window import Timeline

# The XL model's trace takes about 60 MB when read: enough to go to and fro between two runs.
_KEPT = 2

_Stamp = tuple[tuple[str, int, int], ...]


class OpenRuns:
    """Opens a run when something is asked of it and keeps the last few; again when a file changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # one reads, the others wait for what it read
        self._kept: OrderedDict[tuple[Path, _Stamp], _Opened] = OrderedDict()

    def file(self, folder: Path, name: str) -> bytes:
        """A table or the findings of a run, worked out from its trace as `layerscope layers` does.

        Args:
            name: `layers`, `steps` or `findings`.

        Raises:
            UnprocessableEntity: the run cannot be read.
        """
        with self._answering():
            return self._opened(folder).file(name)

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
        with self._answering():
            return msgspec.json.encode(self._opened(folder).timeline.window(choice))

    def perfetto(self, folder: Path) -> bytes:
        """The trace with named tracks, gzipped, as `layerscope export --perfetto` writes it.

        Raises:
            UnprocessableEntity: the trace cannot be read, or there is no place for the file.
        """
        with self._answering():
            run = self._opened(folder).run
            with TemporaryDirectory(prefix="layerscope-perfetto-") as made:
                return export_perfetto(run, Path(made)).path.read_bytes()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except LayerscopeError as error:
                raise exceptions.UnprocessableEntity(str(error)) from None

    def _opened(self, folder: Path) -> _Opened:
        key = (folder, _stamp(folder))
        found = self._kept.pop(key, None) or _Opened(Run.open(folder))
        self._kept[key] = found
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found


def written_table(path: Path) -> bytes:
    """A table of layers as its file has it; one of before there were kinds of layers with them.

    Raises:
        UnprocessableEntity: an older table that cannot be read.
    """
    body = path.read_bytes()
    if b"layer_kind" in body.partition(b"\n")[0]:
        return body
    try:
        return csv_text(lines_of_now(path)).encode()
    except LayerscopeError as error:
        raise exceptions.UnprocessableEntity(str(error)) from None


class _Opened:
    """A run, and what the tab makes of it, each once."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._made: dict[str, bytes] = {}

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
            stat = (folder / name).stat()
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
