"""Decoded events in, plain integer columns out: one list of arrays for each kind of event."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Any

import numpy as np
import numpy.typing as npt

from layerscope.trace.categories import (
    ABSENT,
    ANNOTATION_CATEGORIES,
    DEVICE_CATEGORIES,
    GRAPH_LAUNCHES,
    IGNORED_CATEGORIES,
    LAUNCH_CATEGORIES,
    LAUNCH_KINDS,
    MODULE_MARK,
    MODULES_BETWEEN,
    PYTHON_CATEGORIES,
    SPAN_CATEGORIES,
)
from layerscope.trace.events import Event, EventArgs, ExactEvent, Id

Ints = npt.NDArray[np.int64]
Events = Sequence[Event] | Sequence[ExactEvent]
Columns = tuple[Ints, ...]

# Beyond this many ns a float of µs no longer tells neighbours apart (2**53 ns).
_EXACT_FLOAT_NS = 9.0e15
# Start and duration up to here add up within 64 bits; 73 years of ns, and clocks count from 1970.
MOST_NS = 1 << 61
_MOST_DIGITS = 30
_NO_ARGS = EventArgs()
# Ids that are text get numbers from here down, where no writer's own ids lie.
_TEXT_IDS = -(1 << 62)


class NeedsExactTimes(Exception):
    """Times too large for floats: add the same piece again with its times as text."""


class _Numbering(dict[Any, int]):
    """Numbers what it is asked for, in the order in which it first is."""

    def __missing__(self, key: Any) -> int:
        self[key] = number = len(self)
        return number


@dataclass(frozen=True)
class _Edge:
    """A `B` or an `E` event."""

    at_ns: int
    begins: bool
    event: Event | ExactEvent


class Collector:
    """Appends events to columns, a piece of the trace at a time.

    The columns of spans and modules are name, thread, start, duration, annotation, external id; of
    launches name, thread, start, duration, correlation, external id, kind; of device events name,
    device, stream, start, duration, correlation, external id, graph node.
    """

    def __init__(self) -> None:
        self.names = _Numbering()
        self.threads = _Numbering()
        self.device_names: dict[int, str] = {}
        self._text_ids: dict[str, int] = {}
        self._columns: dict[str, list[Columns]] = defaultdict(list)
        self._edges: dict[tuple[Id | None, Id | None], list[_Edge]] = defaultdict(list)
        self._negative = 0
        self._unknown: Counter[str] = Counter()

    def add(self, events: Events, *, exact: bool) -> None:
        """Sort one piece's events into the columns.

        Raises:
            ValueError: a time that is no number or does not fit 64 bits of ns.
            NeedsExactTimes: floats cannot hold a time; nothing was added.
        """
        unknown: Counter[str] = Counter()
        edges: list[Any] = []
        kinds: dict[str, list[Any]] = {"span": [], "launch": [], "device": [], "module": []}
        ignored: list[Any] = []
        routes: dict[str | None, Callable[[Any], None]] = {
            category: kinds[kind].append for category, kind in _KIND_OF.items()
        }
        routes |= dict.fromkeys(IGNORED_CATEGORIES - PYTHON_CATEGORIES, ignored.append)
        for event in events:
            if event.ph == "X":
                route = routes.get(event.cat)
                if route is not None:
                    route(event)
                else:
                    unknown[str(event.cat)] += 1
            elif event.ph in ("B", "E"):
                edges.append(event)
        kinds["module"] = [e for e in kinds["module"] if e.name.startswith(MODULE_MARK)]
        kinds = {kind: found for kind, found in kinds.items() if found}
        # All times before anything is kept: they may have to be read again.
        starts = {k: _times([e.ts for e in found], exact=exact) for k, found in kinds.items()}
        durations = {k: _times([e.dur for e in found], exact=exact) for k, found in kinds.items()}
        at = _times([event.ts for event in edges], exact=exact).tolist()
        self._unknown += unknown
        for event, at_ns in zip(edges, at, strict=True):
            self._edges[event.pid, event.tid].append(_Edge(at_ns, event.ph == "B", event))
        for kind, found in kinds.items():
            self._append(kind, found, starts[kind], durations[kind])

    def finish(self) -> tuple[str, ...]:
        """Pair what began and ended in events of their own; returns warnings.

        Raises:
            ValueError: the durations add up to more than 64 bits of ns.
        """
        warnings = list(self._pair())
        for kind, chunks in self._columns.items():
            durations = sum(float(chunk[_DURATION_AT[kind]].sum(dtype=float)) for chunk in chunks)
            if durations >= 2 * MOST_NS:
                raise ValueError(f"durations of {durations:.3g} ns in all")
        if self._negative:
            warnings.append(f"{self._negative} events with a negative duration counted as 0")
        if self._unknown:
            named = ", ".join(f"{name} ({n:,})" for name, n in self._unknown.most_common(4))
            warnings.append(
                f"{self._unknown.total():,} events of categories that layerscope does not know are "
                f"left out: {named}"
            )
        return tuple(warnings)

    def columns(self, kind: str) -> Columns:
        """The finished columns of `span`, `module`, `launch` or `device`."""
        chunks = self._columns[kind]
        if not chunks:
            return tuple(np.zeros(0, np.int64) for _ in range(_WIDTH[kind]))
        return tuple(np.concatenate(column) for column in zip(*chunks, strict=True))

    def _append(self, kind: str, events: list[Any], start: Ints, duration: Ints) -> None:
        negative = duration < 0
        if negative.any():
            self._negative += int(negative.sum())
            duration = np.where(negative, 0, duration)
        if kind == "launch":
            linked = [
                i for i, e in enumerate(events) if (e.args or _NO_ARGS).correlation is not None
            ]
            if not linked:
                return
            events, start, duration = [events[i] for i in linked], start[linked], duration[linked]
        names = self.names
        name = np.array([names[event.name] for event in events], np.int64)
        if kind == "device":
            row: Columns = (name, *self._places(events), start, duration)
        else:
            threads = self.threads
            thread = np.array([threads[e.pid, e.tid] for e in events], np.int64)
            row = (name, thread, start, duration)
        if kind in ("span", "module"):
            marks = [event.cat in ANNOTATION_CATEGORIES for event in events]
            external = self._external_ids(kind, events)
            row = (*row, np.array(marks, np.int64), external)
        else:
            args = [event.args or _NO_ARGS for event in events]
            correlation = self._ids([a.correlation for a in args])
            external = self._ids([a.external_id for a in args])
            if kind == "launch":
                last = np.array([_launch_kind(event) for event in events], np.int64)
            else:
                last = self._ids([a.graph_node for a in args])
            row = (*row, correlation, external, last)
            if kind == "device":
                row = (*row, self._modules(args))
        self._columns[kind].append(row)

    def _places(self, events: list[Any]) -> tuple[Ints, Ints]:
        """Device and stream of device events.

        Kineto's process of a device event is its device. Where it is another, several processes
        were put into one file, and the same number may be another device in each.
        """
        args = [event.args or _NO_ARGS for event in events]
        pid = self._ids([event.pid for event in events])
        given = self._ids([a.device for a in args])
        device = np.where(given == ABSENT, pid, given)
        foreign = (pid != ABSENT) & (pid != device)
        for index in np.flatnonzero(foreign).tolist():
            label = f"device {args[index].device} of process {events[index].pid}"
            device[index] = self._text_id(label)
        stream = self._ids(
            [e.tid if a.stream is None else a.stream for e, a in zip(events, args, strict=True)]
        )
        unnamed = set(np.unique(device[device <= _TEXT_IDS]).tolist()) - set(self.device_names)
        if unnamed:
            self.device_names |= {n: text for text, n in self._text_ids.items() if n in unnamed}
        return device, stream

    def _modules(self, args: list[EventArgs]) -> Ints:
        """The modules that kernels say they work for, as an index into the names."""
        if not any(a.module_fqn for a in args):
            return np.full(len(args), ABSENT, np.int64)
        said = [_modules_said(a.module_fqn) for a in args]
        return np.array([self.names[text] if text else ABSENT for text in said], np.int64)

    def _external_ids(self, kind: str, events: list[Any]) -> Ints:
        if kind == "module":
            return np.full(len(events), ABSENT, np.int64)
        return self._ids([(event.args or _NO_ARGS).external_id for event in events])

    def _ids(self, values: list[Id | None]) -> Ints:
        """Ids as integers: ints and whole floats keep their value, other text gets a number."""
        if set(map(type, values)) == {int}:
            try:
                return np.array(values, np.int64)
            except OverflowError:
                pass
        return np.array([self._id(value) for value in values], np.int64)

    def _id(self, value: Id | None) -> int:
        if value is None:
            return ABSENT
        if isinstance(value, float):
            value = int(value) if value.is_integer() else repr(value)
        if isinstance(value, str) and len(value) < _MOST_DIGITS and _is_integer(value):
            value = int(value)
        if isinstance(value, int) and abs(value) < -_TEXT_IDS:
            return value
        return self._text_id(str(value))

    def _text_id(self, text: str) -> int:
        return self._text_ids.setdefault(text, _TEXT_IDS - len(self._text_ids))

    def _pair(self) -> list[str]:
        """Turn each `B` and the `E` that closes it into one event; the spans come last."""
        begun: list[tuple[_Edge, int]] = []
        never_ended = never_begun = 0
        for edges in self._edges.values():
            edges.sort(key=lambda edge: edge.at_ns)
            waiting: list[_Edge] = []
            for edge in edges:
                if edge.begins:
                    waiting.append(edge)
                elif waiting:
                    opened = waiting.pop()
                    begun.append((opened, edge.at_ns - opened.at_ns))
                else:
                    never_begun += 1
            never_ended += len(waiting)
        begun.sort(key=lambda pair: (pair[0].at_ns, -pair[1]))
        kinds: dict[str, list[tuple[_Edge, int]]] = defaultdict(list)
        for pair in begun:
            category = pair[0].event.cat
            kind = _KIND_OF.get(category) if category is not None else None
            if kind == "module" and not pair[0].event.name.startswith(MODULE_MARK):
                continue
            if kind is not None:
                kinds[kind].append(pair)
            elif category not in IGNORED_CATEGORIES:
                self._unknown[str(category)] += 1
        for kind, pairs in kinds.items():
            start = np.array([edge.at_ns for edge, _ in pairs], np.int64)
            duration = np.array([length for _, length in pairs], np.int64)
            self._append(kind, [edge.event for edge, _ in pairs], start, duration)
        warnings = []
        if never_ended or never_begun:
            warnings.append(
                f"{never_ended} events began (ph B) and never ended, {never_begun} ended (ph E) and "
                "never began; left out"
            )
        return warnings


_KIND_OF: dict[str, str] = {
    **dict.fromkeys(SPAN_CATEGORIES, "span"),
    **dict.fromkeys(LAUNCH_CATEGORIES, "launch"),
    **dict.fromkeys(DEVICE_CATEGORIES, "device"),
    **dict.fromkeys(PYTHON_CATEGORIES, "module"),
}
_WIDTH = {"span": 6, "module": 6, "launch": 7, "device": 9}
_DURATION_AT = {"span": 3, "module": 3, "launch": 3, "device": 4}


def _launch_kind(event: Event | ExactEvent) -> int:
    if event.name.startswith(GRAPH_LAUNCHES):
        return LAUNCH_KINDS.index("graph")
    return _LAUNCH_KIND_OF[event.cat or ""]


_LAUNCH_KIND_OF = {
    category: LAUNCH_KINDS.index(kind) for category, kind in LAUNCH_CATEGORIES.items()
}


def _modules_said(value: Any) -> str:
    """One text for a name or a list of names; "" for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(name, str) and name for name in value):
        return MODULES_BETWEEN.join(dict.fromkeys(value))
    return ""


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit()


def _times(values: list[Any], *, exact: bool) -> Ints:
    """µs -> `round(µs * 1000)` ns."""
    if exact:
        return np.array([_exact_ns(value) for value in values], np.int64)
    with np.errstate(over="ignore"):  # what overflows is refused below
        ns = np.rint(np.array(values, np.float64) * 1000)
    size = np.abs(ns)
    outside = ~(size <= MOST_NS)
    if outside.any():
        raise ValueError(f"{values[int(outside.argmax())]!r} µs")
    if (size > _EXACT_FLOAT_NS).any():
        raise NeedsExactTimes
    return ns.astype(np.int64)


def _exact_ns(value: Any) -> int:
    """µs as text -> ns, without the float whose ulp exceeds a nanosecond beyond 2**53 ns."""
    text = bytes(value).decode().strip('"')
    try:
        us = Decimal(text)
    except DecimalException:
        us = Decimal("NaN")
    # The exponent first: a number of a few characters may have a billion digits.
    if not us.is_finite() or us.adjusted() > _MOST_DIGITS:
        raise ValueError(f"{text[:40]} µs")
    ns = int((us * 1000).to_integral_value())
    if abs(ns) > MOST_NS:
        raise ValueError(f"{text[:40]} µs")
    return ns
