"""Blocks of a trace's JSON in, lists of typed events out, in bounded memory.

The array `traceEvents` is cut between events and each piece is decoded on its own, so memory
follows the block size and not the file. Kineto's own layout gives the cut by one search; any other
layout is cut by walking its brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from layerscope.core.errors import DataError

# The separator of Kineto's writer. A cut found with it is only trusted when the piece decodes.
_KINETO_SEPARATOR = b"\n  },\n  {"
_KINETO_END = b"\n  ]"
# A string, a bracket, or a lone quote: the start of a string that the block cuts off.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}"]', re.DOTALL)
_LEAD = re.compile(rb"[ \t\r\n]*,?")
_SPACE = b" \t\r\n"
# One event, or the head before the events, beyond this is no trace; it bounds the memory.
MOST_PIECE_BYTES = 64 << 20
Id = int | float | str


class EventArgs(msgspec.Struct, gc=False):
    """The arguments that link host and device events; all others are skipped while decoding."""

    correlation: Id | None = None
    external_id: Id | None = msgspec.field(default=None, name="External id")
    device: Id | None = None
    stream: Id | None = None
    graph_node: Id | None = msgspec.field(default=None, name="graph node id")
    # A name, or several of a fused kernel; whatever else a writer puts there is no module.
    module_fqn: Any = None


class Event(msgspec.Struct, gc=False):
    """One trace event, times in µs as the file has them."""

    name: str = ""
    ph: str = ""
    cat: str | None = None
    pid: Id | None = None
    tid: Id | None = None
    ts: float = 0.0
    dur: float = 0.0
    args: EventArgs | None = None


class ExactEvent(msgspec.Struct, gc=False):
    """The same event with its times as text, for clocks whose ns do not fit a float."""

    name: str = ""
    ph: str = ""
    cat: str | None = None
    pid: Id | None = None
    tid: Id | None = None
    ts: msgspec.Raw = msgspec.Raw(b"0")
    dur: msgspec.Raw = msgspec.Raw(b"0")
    args: EventArgs | None = None


_DECODER = msgspec.json.Decoder(list[Event])
_EXACT_DECODER = msgspec.json.Decoder(list[ExactEvent])


# Kineto writes some hundred before the events; a walk over millions is what a made-up file asks for.
_MOST_MARKS_BEFORE = 500_000


class _TooManyMarks(Exception):
    pass


class EventStream:
    """Decodes one trace. Iterate `pieces()`; `metadata` holds the keys beside `traceEvents`.

    Attributes:
        metadata: the top-level keys beside the events (device properties, base time, versions);
            those after the events are there once all pieces have been read.
        exact: events come as `ExactEvent`, since `exactly` was called.
    """

    def __init__(self, blocks: Iterable[bytes], path: Path) -> None:
        self.metadata: dict[str, Any] = {}
        self.exact = False
        self._blocks = iter(blocks)
        self._path = path
        self._offset = 0  # of the buffer's first byte in the plain text, for messages
        self._text = b"[]"
        self._bare = False

    def pieces(self) -> Iterator[list[Event] | list[ExactEvent]]:
        """Yield lists of events in file order.

        Raises:
            DataError: not JSON, no `traceEvents`, or an end before the array's end; with position.
        """
        buffer = self._find_array()
        wanted = 0
        for block in self._blocks:
            buffer += block
            # An event longer than a block is looked at again only when it has doubled: linear time.
            if len(buffer) < wanted:
                continue
            events, buffer, ended = self._cut(buffer)
            wanted = 0 if events else 2 * len(buffer)
            if events:
                yield events
            if ended:
                self._read_tail(buffer)
                return
            if len(buffer) > MOST_PIECE_BYTES:
                raise self._broken(f"one event is longer than {MOST_PIECE_BYTES:,} bytes", 0)
        events, rest, ended = self._last(buffer)
        if events:
            yield events
        if not ended:
            raise self._broken("the file ends inside the list of events", len(rest))
        self._read_tail(rest)

    @property
    def position(self) -> int:
        """Bytes of plain text before what is being read, for messages."""
        return self._offset

    def _find_array(self) -> bytes:
        """Read up to the `[` of the events; keep what stands before it as metadata."""
        buffer = b""
        wanted = 0
        for block in self._blocks:
            buffer += block
            if len(buffer) >= wanted:
                wanted = 2 * len(buffer)
                if (rest := self._open_array(buffer)) is not None:
                    return rest
            if len(buffer) > MOST_PIECE_BYTES:
                raise self._broken(f"no `traceEvents` in the first {MOST_PIECE_BYTES:,} bytes", 0)
        if (rest := self._open_array(buffer)) is not None:
            return rest
        raise DataError(
            f"{self._path}: no `traceEvents` in its {len(buffer):,} bytes; `layers` reads a run "
            "folder, or the JSON that torch.profiler's export_chrome_trace writes."
        )

    def _open_array(self, buffer: bytes) -> bytes | None:
        """What follows the events' `[`; None where the buffer does not reach so far."""
        text = buffer.lstrip(b"\xef\xbb\xbf" + _SPACE)
        if text[:1] == b"[":
            self._offset = len(buffer) - len(text) + 1
            self._bare = True
            return text[1:]
        if text and text[:1] != b"{":
            raise self._broken("neither a JSON object nor a list of events", 0)
        try:
            start = _array_start(text)
        except _TooManyMarks:
            raise self._broken(
                f"no `traceEvents` before the first {_MOST_MARKS_BEFORE:,} brackets and names", 0
            ) from None
        if start is None:
            return None
        self._read_metadata(text[:start])
        self._offset = len(buffer) - len(text) + start
        return text[start:]

    def _read_metadata(self, head: bytes) -> None:
        try:
            found = msgspec.json.decode(head + b"]}")
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._broken(f"damaged JSON before the events ({_why(error)})", 0) from None
        self.metadata = {key: value for key, value in found.items() if key != "traceEvents"}

    def _cut(self, buffer: bytes) -> tuple[list[Event] | list[ExactEvent], bytes, bool]:
        """Decode the whole events at the front of `buffer`; return them, the rest, array ended."""
        cut = buffer.rfind(_KINETO_SEPARATOR)
        if cut >= 0:
            events = self._try(_array(buffer, cut, b"}]"))
            if events is not None:
                rest = cut + len(_KINETO_SEPARATOR) - 1
                self._offset += rest
                return events, buffer[rest:], False
        return self._walk(buffer)

    def _last(self, buffer: bytes) -> tuple[list[Event] | list[ExactEvent], bytes, bool]:
        end = buffer.rfind(_KINETO_END)
        if end >= 0:
            events = self._try(_array(buffer, end))
            if events is not None:
                rest = end + len(_KINETO_END)
                self._offset += rest
                return events, buffer[rest:], True
        return self._walk(buffer)

    def _walk(self, buffer: bytes) -> tuple[list[Event] | list[ExactEvent], bytes, bool]:
        """Find the last whole event by walking brackets and strings: any layout, slower."""
        depth = 0
        whole = 0
        for token in _TOKEN.finditer(buffer):
            mark = token.group()
            if mark in (b"{", b"["):
                depth += 1
            elif mark in (b"}", b"]"):
                depth -= 1
                if depth == 0:
                    whole = token.end()
                elif depth < 0:
                    events = self._decode(buffer, token.start())
                    self._offset += token.end()
                    return events, buffer[token.end() :], True
            elif mark == b'"':
                break
        if not whole:
            return [], buffer, False
        events = self._decode(buffer, whole)
        rest = buffer[whole:].lstrip(_SPACE)
        rest = rest[1:] if rest[:1] == b"," else rest
        self._offset += len(buffer) - len(rest)
        return events, rest, False

    def _try(self, text: bytes) -> list[Event] | list[ExactEvent] | None:
        try:
            return self._typed(text)
        except (msgspec.DecodeError, RecursionError):
            return None

    def _decode(self, buffer: bytes, end: int) -> list[Event] | list[ExactEvent]:
        end = len(buffer[:end].rstrip(_SPACE))
        # A comma after the last event is no JSON, yet interrupted writers leave one.
        end -= buffer[end - 1 : end] == b","
        try:
            return self._typed(_array(buffer, end))
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._broken(f"damaged JSON ({_why(error)})", 0) from None

    def _typed(self, text: bytes) -> list[Event] | list[ExactEvent]:
        """Decode a list of events."""
        self._text = text
        return _EXACT_DECODER.decode(text) if self.exact else _DECODER.decode(text)

    def exactly(self) -> list[ExactEvent]:
        """The piece yielded last once more, with its times as text; so are all that follow."""
        self.exact = True
        return _EXACT_DECODER.decode(self._text)

    def _read_tail(self, tail: bytes) -> None:
        """What follows the array must close the document, else the file was cut or glued."""
        for block in self._blocks:
            tail += block
            if len(tail) > MOST_PIECE_BYTES:
                raise self._broken(f"more than {MOST_PIECE_BYTES:,} bytes after the events", 0)
        text = tail.strip(_SPACE)
        if self._bare and not text:
            return
        try:
            if self._bare:
                raise msgspec.DecodeError("a list of events must end the file")
            found = msgspec.json.decode(b'{"traceEvents":0' + text)
        except (msgspec.DecodeError, RecursionError) as error:
            why = _why(error)
            raise self._broken(f"damaged JSON after the events ({why})", 0) from None
        self.metadata |= {key: value for key, value in found.items() if key != "traceEvents"}

    def _broken(self, what: str, ahead: int) -> DataError:
        where = self._offset + ahead
        return DataError(f"{self._path}: {what}, near byte {where:,} of the uncompressed text.")


def _array(buffer: bytes, end: int, closing: bytes = b"]") -> bytes:
    """The events before `end` as a list of their own, with one copy: this is most of what is read."""
    lead = _LEAD.match(buffer, 0, end)
    start = lead.end() if lead else 0
    return b"".join((b"[", memoryview(buffer)[start:end], closing))


def _why(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _array_start(buffer: bytes) -> int | None:
    """Offset just after the `[` of the top-level key `traceEvents`, or None when not yet there.

    Raises:
        _TooManyMarks: there is more before it than any profiler writes.
    """
    depth = 0
    previous = b""
    for number, token in enumerate(_TOKEN.finditer(buffer)):
        mark = token.group()
        if mark == b'"':
            return None
        if number > _MOST_MARKS_BEFORE:
            raise _TooManyMarks
        if mark == b"[" and depth == 1 and previous == b'"traceEvents"':
            return token.end()
        if mark in (b"{", b"["):
            depth += 1
        elif mark in (b"}", b"]"):
            depth -= 1
        previous = mark
    return None
