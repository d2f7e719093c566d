"""A trace file in, integer-nanosecond columns out: host spans, launches, device events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from layerscope.core.collector_pause import collector_at_rest
from layerscope.core.errors import DataError
from layerscope.trace.categories import ABSENT, LAUNCH_KINDS, MODULES_BETWEEN
from layerscope.trace.collector import Collector, Ints, NeedsExactTimes
from layerscope.trace.events import EventStream
from layerscope.trace.launch_threads import launching_threads
from layerscope.trace.source import read_blocks

__all__ = [
    "ABSENT",
    "LAUNCH_KINDS",
    "MODULES_BETWEEN",
    "DeviceEvents",
    "HostSpans",
    "Ints",
    "Launches",
    "TraceColumns",
]

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class HostSpans:
    """Operators and ranges on host threads, file order. Arrays of one length."""

    name: Ints  # index into TraceColumns.names
    thread: Ints  # index into TraceColumns.threads
    start_ns: Ints
    dur_ns: Ints
    annotation: Ints  # 1 for a `user_annotation`, 0 for a `cpu_op`
    external_id: Ints  # what launches name the operator by that made them; `ABSENT` without one


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
    module: Ints  # index into TraceColumns.names of what `module_fqn` says


@dataclass(frozen=True)
class TraceColumns:
    """One trace. `metadata` holds the file's keys beside the events.

    Attributes:
        modules: the Python tracer's `nn.Module: X_n` events; they are not among the spans.
        device_names: names of devices whose id is no number of the trace.
    """

    names: tuple[str, ...]
    threads: tuple[tuple[str, str], ...]  # (pid, tid) as text
    spans: HostSpans
    launches: Launches
    device: DeviceEvents
    metadata: dict[str, Any]
    warnings: tuple[str, ...]
    modules: HostSpans
    device_names: Mapping[int, str] = field(default_factory=dict)


def read_trace(path: Path, block_bytes: int = BLOCK_BYTES) -> TraceColumns:
    """Read a Kineto trace: plain, gzipped, or alone in a zip.

    Durations and timestamps become `round(µs * 1000)` ns. Events that a `B` and an `E` make up
    stand behind those that are one `X` each.

    Raises:
        DataError: the file cannot be read as a trace; the message names the file and the place.
    """
    stream = EventStream(read_blocks(path, block_bytes), path)
    collector = Collector()
    # Millions of short-lived objects without cycles: the collector would only scan them in vain.
    try:
        with collector_at_rest():
            for events in stream.pieces():
                try:
                    collector.add(events, exact=stream.exact)
                except NeedsExactTimes:
                    collector.add(stream.exactly(), exact=True)
            warnings = collector.finish()
    except (OverflowError, ValueError) as error:
        raise DataError(
            f"{path}: a time does not fit a trace ({error}), before byte {stream.position:,} of "
            "the uncompressed text."
        ) from None
    threads = tuple((str(pid), str(tid)) for pid, tid in collector.threads)
    spans = HostSpans(*collector.columns("span"))
    launches = Launches(*collector.columns("launch"))
    return TraceColumns(
        names=tuple(collector.names),
        threads=threads,
        spans=spans,
        launches=replace(launches, thread=launching_threads(spans, launches, threads)),
        device=DeviceEvents(*collector.columns("device")),
        metadata=stream.metadata,
        warnings=warnings,
        modules=HostSpans(*collector.columns("module")),
        device_names=collector.device_names,
    )
