"""A trace in, the same trace with layerscope's tracks in it out, for Perfetto and chrome://tracing.

Kineto's events stay as they are; device events learn their layer, phase and step. A process of its
own holds the phases, decoder steps and layers of host and device, every wait of a device, and a
counter of its idle share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerscope.account.workings import Workings
from layerscope.core.vocabulary import LAYER_PREFIX, PHASE_PREFIX, name_in_range
from layerscope.report.trace_file import TraceFile
from layerscope.timeline.tracks import Track, devices_of, idle_share, step_of_event, tracks_of
from layerscope.trace.raw import RawEvent, RawTrace, raw_us, text
from layerscope.trace.tree import NONE

SUFFIX = ".perfetto.json.gz"
PROCESS = "layerscope"

# Kineto's processes are the system's own and the devices' numbers; no system counts this far.
_PID = 2_000_000_000
_IDLE_BUCKETS = 1000
# Shorter buckets would show single kernels, which the track of the waits does already.
_LEAST_BUCKET_NS = 10_000


@dataclass(frozen=True)
class Marked:
    """What was added: slices by track, and points of the counters."""

    path: Path
    tracks: dict[str, int]
    points: int


def write_perfetto(trace: Path, workings: Workings, path: Path) -> Marked:
    """Write the trace with the tracks added.

    Args:
        trace: Kineto's file; it is read once more and left as it is.
        workings: the same trace, worked out.
        path: of the new file.

    Raises:
        DataError: the trace cannot be read.
        EnvironmentProblem: the file cannot be written.
    """
    raw = RawTrace(trace)
    with TraceFile(path, raw.metadata) as file:
        for event in raw.events():
            file.add(_marked(event, workings))
        file.add(_named(0, "process_name", name=PROCESS))
        file.add(_named(0, "process_sort_index", sort_index=-1))
        tracks = tracks_of(workings)
        for number, track in enumerate(tracks, 1):
            for item in _slices(number, track):
                file.add(item)
        points = 0
        for point in _counters(workings):
            file.add(point)
            points += 1
    return Marked(path, {track.name: len(track.slices) for track in tracks}, points)


def _marked(event: RawEvent, workings: Workings) -> Mapping[str, Any]:
    if event.role == "span":
        return _by_its_own_name(event)
    if event.role != "device":
        return event.fields
    layer, phase = workings.keys[event.row]
    step = step_of_event(workings, event.row)
    told: dict[str, Any] = {"layer": layer, "phase": phase}
    if step != NONE:
        told["step"] = step
    parts = workings.parts(event.row)
    if len(parts) > 1:
        # A viewer shows a fused kernel once, below its largest layer; the table deals it out.
        told["shares_ns"] = {f"{name} ({of})": ns for (name, of), ns in parts}
    return {**event.fields, "args": {**event.args, **told}}


def _by_its_own_name(event: RawEvent) -> Mapping[str, Any]:
    """A range of ours with the name of its layer or phase, which Kineto could not have written."""
    name = text(event.fields.get("name")) or ""
    if "%" not in name or not name.startswith((LAYER_PREFIX, PHASE_PREFIX)):
        return event.fields
    return {**event.fields, "name": name_in_range(name)}


def _named(number: int, what: str, **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": _PID, "tid": number, "ts": 0, "args": args}


def _slices(number: int, track: Track) -> Iterator[dict[str, Any]]:
    yield _named(number, "thread_name", name=track.name)
    yield _named(number, "thread_sort_index", sort_index=number)
    for item in track.slices:
        yield {
            "ph": "X",
            "cat": f"layerscope_{track.kind}",
            "name": item.name,
            "pid": _PID,
            "tid": number,
            "ts": raw_us(item.start_ns),
            "dur": raw_us(item.end_ns - item.start_ns),
            "args": item.detail,
        }


def _counters(workings: Workings) -> Iterator[dict[str, Any]]:
    """The idle share of each device over time, in percent; a point wherever it changes."""
    for device in devices_of(workings):
        starts = workings.columns.device.start_ns
        span_ns = int(starts.max() - starts.min())
        before = -1.0
        for start_ns, share in idle_share(
            workings, device, max(_LEAST_BUCKET_NS, span_ns // _IDLE_BUCKETS)
        ):
            percent = round(100 * share, 3)
            if percent != before:
                yield _point(device, start_ns, percent)
            before = percent


def _point(device: int, start_ns: int, percent: float) -> dict[str, Any]:
    return {
        "ph": "C",
        "name": f"device {device}",
        "pid": _PID,
        "ts": raw_us(start_ns),
        "args": {"idle %": percent},  # a counter's track has both names, in this order
    }
