"""Events in, a gzipped trace file in Chrome's JSON format out, in bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import msgspec

from layerscope.core.errors import EnvironmentProblem
from layerscope.core.whole_file import whole_file

_COMPRESSION = 5
_KEPT_BYTES = 1 << 20


class TraceFile:
    """Context manager: events go in one by one; the file takes its name when all are written.

    The list of events comes last in the file: torch-tb-profiler appends its own events there.

    Raises:
        EnvironmentProblem: the file cannot be written; nothing is left behind.
    """

    def __init__(self, path: Path, metadata: Mapping[str, Any]) -> None:
        self._path = path
        self._metadata = metadata
        self._packer = zlib.compressobj(_COMPRESSION, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        self._kept = bytearray()
        self._before = b""
        self._file: IO[bytes] | None = None
        self._end = ExitStack()

    def __enter__(self) -> TraceFile:
        try:
            with ExitStack() as stack:
                partial = stack.enter_context(whole_file(self._path))
                self._file = stack.enter_context(partial.open("wb"))
                self._end = stack.pop_all()
        except OSError as error:
            raise self._unwritable(error) from None
        head = msgspec.json.encode(dict(self._metadata))
        comma = b"," if self._metadata else b""
        self._kept += head.removesuffix(b"}") + comma + b'"traceEvents":[\n'
        return self

    def add(self, event: Mapping[str, Any]) -> None:
        """Write one event; values of type `msgspec.Raw` go into the file as they are."""
        self._kept += self._before
        self._kept += msgspec.json.encode(event)
        self._before = b",\n"
        if len(self._kept) > _KEPT_BYTES:
            self._flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is not None:
                self._end.__exit__(kind, error, trace)
                return
            with self._end:
                self._kept += b"\n]}\n"
                self._flush()
                self._write(self._packer.flush())
        except OSError as problem:
            raise self._unwritable(problem) from None

    def _flush(self) -> None:
        self._write(self._packer.compress(self._kept))
        self._kept.clear()

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> EnvironmentProblem:
        return EnvironmentProblem(
            f"{self._path}: the trace cannot be written ({error.strerror or error}); choose another "
            "folder with --out."
        )
