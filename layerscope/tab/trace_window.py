"""A run's trace and a choice of layer, phase or step in, the viewer's window of it as JSON out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from werkzeug import exceptions

from layerscope.account.account import work_out
from layerscope.core.errors import LayerscopeError
from layerscope.records.provenance import load_provenance
from layerscope.report.perfetto import SUFFIX, write_perfetto
from layerscope.timeline.choice import Choice
from layerscope.timeline.window import Timeline
from layerscope.trace.columns import read_trace

# The XL model's trace takes about 60 MB when read: enough to go to and fro between two runs.
_KEPT = 2


class TraceWindows:
    """Reads a trace at its first window and keeps the last few; again when its file changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # one reads, the others wait for what it read
        self._kept: OrderedDict[tuple[Path, int, int], Timeline] = OrderedDict()

    def answer(self, trace: Path, asked: Mapping[str, str]) -> bytes:
        """The window as JSON.

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
        try:
            return msgspec.json.encode(self._timeline(trace).window(choice))
        except LayerscopeError as error:
            raise exceptions.UnprocessableEntity(str(error)) from None

    def perfetto(self, trace: Path) -> bytes:
        """The trace with named tracks, gzipped, as `layerscope export --perfetto` writes it.

        Raises:
            UnprocessableEntity: the trace cannot be read, or there is no place for the file.
        """
        try:
            with TemporaryDirectory(prefix="layerscope-perfetto-") as folder:
                path = Path(folder) / f"trace{SUFFIX}"
                write_perfetto(trace, self._timeline(trace).workings, path)
                return path.read_bytes()
        except LayerscopeError as error:
            raise exceptions.UnprocessableEntity(str(error)) from None

    def _timeline(self, trace: Path) -> Timeline:
        stat = trace.stat()
        key = (trace, stat.st_mtime_ns, stat.st_size)
        with self._lock:
            found = self._kept.get(key) or _read(trace)
            self._kept[key] = found
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found


def _read(trace: Path) -> Timeline:
    return Timeline(work_out(read_trace(trace), provenance=load_provenance(trace.parent)))


def _number(asked: Mapping[str, str], name: str) -> int | None:
    text = asked.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or len(text) > 9:
        raise exceptions.BadRequest(f"{name}: a whole number from 0 was expected.")
    return int(text)
