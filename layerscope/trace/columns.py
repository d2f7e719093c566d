"""A trace file in, integer-nanosecond columns out: host spans, launches, device events."""

from __future__ import annotations

import gc
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from layerscope.errors import DataError
from layerscope.records.tables import Launch
from layerscope.trace.events import Event, EventArgs, EventStream, ExactEvent, Id
from layerscope.trace.source import read_blocks

Ints = npt.NDArray[np.int64]

BLOCK_BYTES = 4 << 20

SPAN_CATEGORIES = frozenset({"cpu_op", "user_annotation"})
LAUNCH_CATEGORIES = {"cuda_runtime": "runtime", "cuda_driver": "driver"}
# gpu_user_annotation lies on the device's rows too, but it is a projected range, not work.
DEVICE_CATEGORIES = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
GRAPH_LAUNCHES = ("cudaGraphLaunch", "cuGraphLaunch")
LAUNCH_KINDS: tuple[Launch, ...] = ("none", "runtime", "driver", "graph")

ABSENT = -1


@dataclass(frozen=True)
class HostSpans:
    """Operators and ranges on host threads, file order. Arrays of one length."""

    name: Ints  # index into TraceColumns.names
    thread: Ints  # index into TraceColumns.threads
    start_ns: Ints
    dur_ns: Ints
    annotation: Ints  # 1 for a `user_annotation`, 0 for a `cpu_op`


@dataclass(frozen=True)
class Launches:
    """Calls of the CUDA runtime or driver that carry a correlation id."""

    name: Ints
    thread: Ints
    start_ns: Ints
    dur_ns: Ints
    correlation: Ints
    external_id: Ints
    kind: Ints  # index into LAUNCH_KINDS


@dataclass(frozen=True)
class DeviceEvents:
    """Kernels, memcpys and memsets. `ABSENT` where the trace gives no id."""

    name: Ints
    device: Ints
    stream: Ints
    start_ns: Ints
    dur_ns: Ints
    correlation: Ints
    external_id: Ints
    graph_node: Ints


@dataclass(frozen=True)
class TraceColumns:
    """One trace. `metadata` holds the file's keys beside the events."""

    names: tuple[str, ...]
    threads: tuple[tuple[str, str], ...]  # (pid, tid) as text
    spans: HostSpans
    launches: Launches
    device: DeviceEvents
    metadata: dict[str, Any]
    warnings: tuple[str, ...]


def read_trace(path: Path, block_bytes: int = BLOCK_BYTES) -> TraceColumns:
    """Read a Kineto trace, gzipped or plain.

    Durations and timestamps become `round(µs * 1000)` ns.

    Raises:
        DataError: the file cannot be read as a trace; the message names the file and the place.
    """
    stream = EventStream(read_blocks(path, block_bytes), path)
    collector = _Collector()
    # Millions of short-lived objects without cycles: the collector would only scan them in vain.
    collecting = gc.isenabled()
    gc.disable()
    try:
        for events in stream.pieces():
            collector.add(events, _exact_ns if stream.exact else _float_ns)
    except (OverflowError, ValueError) as error:
        raise DataError(f"{path}: a time or an id does not fit a trace ({error}).") from None
    finally:
        if collecting:
            gc.enable()
    return collector.columns(stream.metadata)


def _float_ns(value: Any) -> int:
    rounded: int = round(value * 1000)
    return rounded


def _exact_ns(value: Any) -> int:
    """µs as text -> ns, without the float whose ulp exceeds a nanosecond beyond 2**53 ns."""
    return int((Decimal(bytes(value).decode().strip('"')) * 1000).to_integral_value())


class _Collector:
    """Appends events to plain arrays, one list of numbers per column."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._threads: dict[tuple[Id | None, Id | None], int] = {}
        self._ids: dict[str, int] = {}
        self._spans = [array("q") for _ in range(5)]
        self._launches = [array("q") for _ in range(7)]
        self._device = [array("q") for _ in range(8)]
        self._negative = 0
        self._skipped: Counter[str] = Counter()

    def add(self, events: list[Event] | list[ExactEvent], to_ns: Callable[[Any], int]) -> None:
        """Sort one piece's complete events into the columns."""
        names, threads = self._names, self._threads
        span_name, span_thread, span_start, span_dur, span_annotation = self._spans
        for event in events:
            if event.ph != "X":
                continue
            category = event.cat
            if category in SPAN_CATEGORIES:
                duration = self._duration(event, to_ns)
                span_name.append(names.setdefault(event.name, len(names)))
                span_thread.append(threads.setdefault((event.pid, event.tid), len(threads)))
                span_start.append(to_ns(event.ts))
                span_dur.append(duration)
                span_annotation.append(category == "user_annotation")
            elif category in LAUNCH_CATEGORIES:
                self._add_launch(event, category, to_ns)
            elif category in DEVICE_CATEGORIES:
                self._add_device(event, to_ns)
            else:
                self._skipped[str(category)] += 1

    def _add_launch(
        self, event: Event | ExactEvent, category: str, to_ns: Callable[[Any], int]
    ) -> None:
        args = event.args
        if args is None or args.correlation is None:
            return
        name, thread, start, dur, correlation, external, kind = self._launches
        label = "graph" if event.name.startswith(GRAPH_LAUNCHES) else LAUNCH_CATEGORIES[category]
        name.append(self._names.setdefault(event.name, len(self._names)))
        thread.append(self._threads.setdefault((event.pid, event.tid), len(self._threads)))
        start.append(to_ns(event.ts))
        dur.append(self._duration(event, to_ns))
        correlation.append(self._id(args.correlation))
        external.append(self._id(args.external_id))
        kind.append(LAUNCH_KINDS.index(label))

    def _add_device(self, event: Event | ExactEvent, to_ns: Callable[[Any], int]) -> None:
        args = event.args or EventArgs()
        row = (
            self._names.setdefault(event.name, len(self._names)),
            self._id(args.device if args.device is not None else event.pid),
            self._id(args.stream if args.stream is not None else event.tid),
            to_ns(event.ts),
            self._duration(event, to_ns),
            self._id(args.correlation),
            self._id(args.external_id),
            self._id(args.graph_node),
        )
        for column, value in zip(self._device, row, strict=True):
            column.append(value)

    def _duration(self, event: Event | ExactEvent, to_ns: Callable[[Any], int]) -> int:
        duration = to_ns(event.dur)
        if duration < 0:
            self._negative += 1
            return 0
        return duration

    def _id(self, value: Id | None) -> int:
        """An id as an integer: ints and whole floats keep their value, other text gets a number."""
        if type(value) is int:
            return value
        if value is None:
            return ABSENT
        if isinstance(value, float):
            if value.is_integer():
                return int(value)
            value = repr(value)
        assert isinstance(value, str)
        if value.lstrip("-").isdigit():
            return int(value)
        return self._ids.setdefault(value, -2 - len(self._ids))

    def columns(self, metadata: dict[str, Any]) -> TraceColumns:
        """The finished columns."""
        warnings = []
        if self._negative:
            warnings.append(f"{self._negative} events with a negative duration counted as 0")
        return TraceColumns(
            names=tuple(self._names),
            threads=tuple((str(pid), str(tid)) for pid, tid in self._threads),
            spans=HostSpans(*map(_ints, self._spans)),
            launches=Launches(*map(_ints, self._launches)),
            device=DeviceEvents(*map(_ints, self._device)),
            metadata=metadata,
            warnings=tuple(warnings),
        )


def _ints(values: array[int]) -> Ints:
    # Without a copy: the array is not appended to any more.
    return np.frombuffer(values, dtype=np.int64) if len(values) else np.zeros(0, np.int64)
