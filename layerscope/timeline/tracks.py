"""A worked-out trace in, named tracks out: phases, decoder steps and layers over time, and the waits.

On the host a slice is a range as it was recorded. On the device it is a run of neighbouring events of
one stream that belong to the same phase, step or layer. A wait is a gap on a device, named for the
layer whose launch ended it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from layerscope.account.workings import Workings
from layerscope.core.vocabulary import OUTSIDE_MODEL
from layerscope.timeline.idle import NOTHING_FOLLOWED, Gaps, first_ns, gaps_of
from layerscope.trace.columns import Ints
from layerscope.trace.tree import NONE

Kind = Literal["phase", "step", "layer", "wait"]
_TITLES: dict[Kind, str] = {"phase": "phases", "step": "decoder steps", "layer": "layers"}


@dataclass(frozen=True, slots=True)
class Slice:
    """A named stretch of time; `detail` is what a viewer shows when it is clicked."""

    name: str
    start_ns: int
    end_ns: int
    detail: dict[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Track:
    """Slices in one row, in order of start; they nest or follow each other, and never cross.

    Attributes:
        place: "host", or "device 0" and the like.
        name: distinct within the trace.
    """

    kind: Kind
    place: str
    name: str
    slices: tuple[Slice, ...]


def tracks_of(workings: Workings) -> tuple[Track, ...]:
    """All tracks of a trace that have a slice, host first."""
    found = [*_host_tracks(workings), *_stream_tracks(workings), *_wait_tracks(workings)]
    return tuple(track for track in found if track.slices)


def idle_share(workings: Workings, on_device: int, bucket_ns: int) -> list[tuple[int, float]]:
    """(start in ns, share of idle time) of each bucket of the window, from its first ns on.

    Share times bucket, summed, is the device's idle time in the window; the last bucket may be cut.
    """
    gaps, start_ns, end_ns = _window_gaps(workings, on_device)
    edges = np.arange(start_ns, end_ns, bucket_ns, dtype=np.int64)
    # Idle time before an edge: whole gaps that began earlier, less what of the last lies behind it.
    begins, lengths = _gap_arrays(gaps, end_ns)
    before = np.concatenate([[0], np.cumsum(lengths)])

    def idle_before(times: Ints) -> Ints:
        began = np.searchsorted(begins, times, side="left")
        last = np.maximum(began - 1, 0)
        over = np.maximum(begins[last] + lengths[last] - times, 0) if len(begins) else 0
        idle: Ints = before[began] - np.where(began > 0, over, 0)
        return idle

    idle = np.diff(idle_before(np.concatenate([edges, [end_ns]])))
    width = np.diff(np.concatenate([edges, [end_ns]]))
    return list(zip(edges.tolist(), (idle / width).tolist(), strict=True))


def devices_of(workings: Workings) -> list[int]:
    """The devices that have events."""
    return [int(device) for device in np.unique(workings.columns.device.device)]


def _window_gaps(workings: Workings, on_device: int) -> tuple[Gaps, int, int]:
    columns, tree = workings.columns, workings.tree
    start_ns = first_ns(workings)
    edges = tree.end_ns[workings.edges].tolist()
    end_ns = max([int((columns.device.start_ns + columns.device.dur_ns).max()), *edges])
    return gaps_of(columns, workings.links, on_device, start_ns), start_ns, end_ns


def _gap_arrays(gaps: Gaps, end_ns: int) -> tuple[Ints, Ints]:
    """Start and length of every gap, the one after the last event included."""
    real = gaps.length_ns > 0
    starts = np.concatenate([gaps.start_ns[real], [gaps.last_end_ns]])
    return starts, np.concatenate([gaps.length_ns[real], [end_ns - gaps.last_end_ns]])


def _host_tracks(workings: Workings) -> Iterator[Track]:
    columns, tree, ranges = workings.columns, workings.tree, workings.ranges
    rows: dict[int, dict[Kind, list[Slice]]] = {}
    for item in ranges.items:
        thread = int(columns.spans.thread[item.span])
        row = rows.setdefault(thread, {"phase": [], "step": [], "layer": []})
        start, end = int(columns.spans.start_ns[item.span]), int(tree.end_ns[item.span])
        above = ranges.items[item.above] if item.above != NONE else None
        detail: dict[str, str | int] = {"layer": item.layer, "phase": item.phase}
        if item.step != NONE:
            detail["step"] = item.step
        if above is None or above.phase != item.phase:
            row["phase"].append(Slice(item.phase, start, end, {"phase": item.phase}))
        if item.step != NONE and (above is None or above.step != item.step):
            row["step"].append(Slice(_step(item.step, item.phase), start, end, detail))
        row["layer"].append(Slice(item.layer, start, end, detail))
    for thread, row in rows.items():
        behind = f" (thread {columns.threads[thread][1]})" if len(rows) > 1 else ""
        for kind, title in _TITLES.items():
            yield Track(kind, "host", f"host {title}{behind}", tuple(row[kind]))


def _step(step: int, phase: str) -> str:
    return f"step {step} ({phase})"


def _streams(workings: Workings) -> list[tuple[int, int]]:
    """(device, stream) of every queue that has events."""
    device = workings.columns.device
    return sorted(set(zip(device.device.tolist(), device.stream.tolist(), strict=True)))


def _stream_tracks(workings: Workings) -> Iterator[Track]:
    device = workings.columns.device
    for on_device, stream in _streams(workings):
        events = np.flatnonzero((device.device == on_device) & (device.stream == stream))
        events = events[np.argsort(device.start_ns[events], kind="stable")]
        place = f"device {on_device}"
        for kind, title in _TITLES.items():
            runs = tuple(_runs(workings, events, kind))
            yield Track(kind, place, f"{place} stream {stream} {title}", runs)


def _runs(workings: Workings, events: Ints, kind: Kind) -> Iterator[Slice]:
    """Neighbours with one name as one slice; it ends where the next one begins at the latest.

    Events without a name (outside any step) part their neighbours and have no slice.
    """
    device = workings.columns.device
    starts = device.start_ns[events].tolist()
    ends = (device.start_ns + device.dur_ns)[events].tolist()
    open_name, first, last, count = "", 0, 0, 0
    detail: dict[str, str | int] = {}
    for event, start, end in zip(events.tolist(), starts, ends, strict=True):
        name, told = _named(workings, event, kind)
        if name != open_name or not count:
            if open_name:
                yield Slice(open_name, first, min(last, start), {**detail, "events": count})
            open_name, first, last, count, detail = name, start, end, 0, told
        last, count = max(last, end), count + 1
    if open_name:
        yield Slice(open_name, first, last, {**detail, "events": count})


def _named(workings: Workings, event: int, kind: Kind) -> tuple[str, dict[str, str | int]]:
    layer, phase = workings.keys[event]
    if kind == "phase":
        return phase, {"phase": phase}
    step = step_of_event(workings, event)
    if kind == "step":
        if step == NONE:
            return "", {}
        return _step(step, phase), {"phase": phase, "step": step}
    told: dict[str, str | int] = {"layer": layer, "phase": phase}
    return layer, told if step == NONE else {**told, "step": step}


def step_of_event(workings: Workings, event: int) -> int:
    """The decoder step that launched a device event; `NONE` outside any."""
    span = int(workings.links.layer[event])
    return workings.ranges.items[workings.ranges.of_span[span]].step if span != NONE else NONE


def _wait_tracks(workings: Workings) -> Iterator[Track]:
    for on_device in devices_of(workings):
        gaps, _, end_ns = _window_gaps(workings, on_device)
        place = f"device {on_device}"
        yield Track("wait", place, f"{place} idle", tuple(_waits(workings, gaps, end_ns)))


def _waits(workings: Workings, gaps: Gaps, end_ns: int) -> Iterator[Slice]:
    for event, start, length, launched, host in zip(
        gaps.event.tolist(),
        gaps.start_ns.tolist(),
        gaps.length_ns.tolist(),
        gaps.launched_ns.tolist(),
        gaps.host_ns.tolist(),
        strict=True,
    ):
        if not length:
            continue
        layer, phase = workings.keys[event]
        # A launch that came a little late before a long wait on the device is not what was waited for.
        reason = "the launch came late" if 2 * host >= length else "queued behind other work"
        if launched == NONE:
            reason = "no launch record"
        detail: dict[str, str | int] = {"layer": layer, "phase": phase, "reason": reason}
        name = layer if layer == OUTSIDE_MODEL else f"waits for {layer}"
        yield Slice(name, start, start + length, detail)
    if end_ns > gaps.last_end_ns:
        yield Slice(NOTHING_FOLLOWED, gaps.last_end_ns, end_ns)
