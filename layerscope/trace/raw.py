"""A trace file in, its events as they stand out: each value its own bytes, for files derived from it.

The events come in the order of the file, sorted into the same columns that `read_trace` fills, so
that the n-th span, launch or device event here is row n there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import msgspec

from layerscope.trace.categories import DEVICE_CATEGORIES, LAUNCH_CATEGORIES, SPAN_CATEGORIES
from layerscope.trace.columns import BLOCK_BYTES
from layerscope.trace.events import EventStream
from layerscope.trace.source import read_blocks

Role = Literal["span", "launch", "device", "other"]
Fields = dict[str, msgspec.Raw]

_DECODER = msgspec.json.Decoder(list[Fields])
_FIELDS = msgspec.json.Decoder(Fields)
_NULL = b"null"


@dataclass(slots=True)
class RawEvent:
    """One event. `row` is its index among the spans, launches or device events; -1 for others.

    `args` are decoded one level deep for launches and device events; empty for all others.
    """

    role: Role
    row: int
    fields: Fields
    args: Fields


class _Untouched(EventStream):
    """Decodes an event into its keys and the bytes of their values."""

    def _typed(self, text: bytes) -> Any:
        return _DECODER.decode(text)


class RawTrace:
    """One trace file, read up to its first events.

    Attributes:
        metadata: the top-level keys that stand before the events.

    Raises:
        DataError: the file cannot be read as a trace; also while `events` is read.
    """

    def __init__(self, path: Path, block_bytes: int = BLOCK_BYTES) -> None:
        stream = _Untouched(read_blocks(path, block_bytes), path)
        self._pieces = stream.pieces()
        self._first: list[Any] = list(next(self._pieces, []))
        self.metadata = stream.metadata

    def events(self) -> Iterator[RawEvent]:
        """Every event once, in bounded memory."""
        count = {"span": 0, "launch": 0, "device": 0}
        for piece in chain([self._first], self._pieces):
            for fields in piece:
                assert isinstance(fields, dict)
                role, args = _role(fields)
                row = -1
                if role != "other":
                    row = count[role]
                    count[role] += 1
                yield RawEvent(role, row, fields, args)


def _role(fields: Fields) -> tuple[Role, Fields]:
    """Where `read_trace` puts the event, and its arguments."""
    if text(fields.get("ph")) != "X":
        return "other", {}
    category = text(fields.get("cat"))
    if category in SPAN_CATEGORIES:
        return "span", {}
    if category in LAUNCH_CATEGORIES:
        args = arguments(fields)
        linked = bytes(args.get("correlation", _NULL)) != _NULL
        return ("launch" if linked else "other"), args
    return ("device", arguments(fields)) if category in DEVICE_CATEGORIES else ("other", {})


def arguments(fields: Fields) -> Fields:
    """The event's `args`, one level deep."""
    raw = fields.get("args")
    return {} if raw is None or bytes(raw) == _NULL else _FIELDS.decode(raw)


def text(raw: msgspec.Raw | None) -> str | None:
    """A value that is a JSON string, else None."""
    value = msgspec.json.decode(raw) if raw is not None else None
    return value if isinstance(value, str) else None


def time_ns(raw: msgspec.Raw | None) -> int:
    """µs as a trace writes them, a number or a number in quotes, to ns, without a float between."""
    if raw is None:
        return 0
    return int((Decimal(bytes(raw).decode().strip('"')) * 1000).to_integral_value())


def raw_us(ns: int) -> msgspec.Raw:
    """ns to µs with three decimals, as Kineto writes them: exact, whatever the clock's values."""
    sign, size = ("-", -ns) if ns < 0 else ("", ns)
    return msgspec.Raw(f"{sign}{size // 1000}.{size % 1000:03d}".encode())
