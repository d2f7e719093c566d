"""A worked-out trace and a choice of layer, phase or step in, all that lies in its window out.

The window reaches from the first range chosen, or the first device event launched in it, to the last
one's end. Everything that overlaps the window is shown; what belongs to the choice is marked, and its
device time is the layer table's `gpu_total` for the same layer and phase.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from layerscope.account.workings import Workings
from layerscope.timeline.choice import Choice, Marks, calls_of, inside_of
from layerscope.timeline.chosen import Chosen, items_of, marked
from layerscope.timeline.tracks import Track, tracks_of
from layerscope.trace.columns import ABSENT, Ints
from layerscope.trace.tree import NONE, innermost_layer

# A browser draws this many slices without a pause; beyond, operators are left out and counted.
MOST_SLICES = 600_000


@dataclass(frozen=True)
class Row:
    """Slices of one kind in one place, ordered by start. Times in ns since the trace's first event.

    Attributes:
        kind: "phase", "step", "layer", "operator", "launch", "kernel" or "wait".
        names: index into `Window.names`.
        level: depth within the row, 0 at the top.
        chosen: 1 for what belongs to the choice.
        owner: index into `Window.names` of the layer that each slice belongs to; -1 for none.
        phase: the same of its phase.
        cause_ns: for device events, the start of the launch; -1 without a launch record.
        shares: of device events that several layers share: index in this row, layer and phase as
            indices into `Window.names`, ns.
    """

    kind: str
    place: str
    title: str
    start_ns: list[int]
    dur_ns: list[int]
    name: list[int]
    level: list[int]
    chosen: list[int]
    owner: list[int]
    phase: list[int]
    cause_ns: list[int]
    shares: list[tuple[int, int, int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Window:
    """What a viewer draws.

    Attributes:
        calls: how many calls fit the choice, before one of them was picked.
        device_ns: device time of the choice, None without device events.
        host_ns: host time of the chosen calls.
        left_out: operators that overlap the window and are not in `rows`.
    """

    start_ns: int
    end_ns: int
    calls: int
    device_events: int
    device_ns: int | None
    host_ns: int
    left_out: int
    names: list[str]
    rows: list[Row]


class Timeline:
    """One trace, prepared once; `window` then answers each choice.

    Attributes:
        workings: the trace.
    """

    def __init__(self, workings: Workings) -> None:
        self.workings = self._workings = workings
        self._tracks = tracks_of(workings)
        starts = [part.start_ns for part in _timed(workings)]
        self._zero_ns = min((int(times.min()) for times in starts if len(times)), default=0)
        self._operator = ~workings.tree.is_layer & ~workings.tree.is_phase
        self._level = _levels(workings, self._operator)
        self._owner = _owners(workings)

    def window(self, choice: Choice, most_slices: int = MOST_SLICES) -> Window:
        """All slices of a choice's window.

        Raises:
            UsageError: nothing in the trace fits the choice.
        """
        ranges, chosen = self._workings.ranges, Chosen(self._workings, choice)
        calls = calls_of(ranges, choice, chosen.holding)
        picked = calls if choice.call is None else [calls[choice.call]]
        inside = inside_of(ranges, picked, choice)
        part_ns = chosen.device_ns(inside)
        events = part_ns != NONE
        start, end = self._bounds(picked, events)
        device = self._workings.columns.device
        names = _Names()
        rows = [*self._track_rows(names, start, end, inside, events)]
        launches = self._launch_rows(names, start, end, inside)
        kernels = self._kernel_rows(names, start, end, events)
        operators = self._operator_rows(names, start, end, inside)
        shown = sum(len(row.start_ns) for row in (*rows, *launches, *kernels))
        wanted = sum(len(row.start_ns) for row in operators)
        left_out = wanted if shown + wanted > most_slices else 0
        return Window(
            start_ns=start - self._zero_ns,
            end_ns=end - self._zero_ns,
            calls=len(calls),
            device_events=int(events.sum()),
            device_ns=int(part_ns[events].sum()) if len(device.name) else None,
            host_ns=chosen.host_ns(picked),
            left_out=left_out,
            names=names.all(),
            rows=_in_order([*rows, *([] if left_out else operators), *launches, *kernels]),
        )

    # ---- what is chosen ---------------------------------------------------------------------------

    def _bounds(self, picked: list[int], events: Marks) -> tuple[int, int]:
        columns, tree = self._workings.columns, self._workings.tree
        spans = [self._workings.ranges.items[item].span for item in picked]
        starts = [columns.spans.start_ns[spans], columns.device.start_ns[events]]
        ends = [tree.end_ns[spans], (columns.device.start_ns + columns.device.dur_ns)[events]]
        return int(np.concatenate(starts).min()), int(np.concatenate(ends).max())

    # ---- rows -------------------------------------------------------------------------------------

    def _row(
        self,
        kind: str,
        place: str,
        title: str,
        start_ns: Ints,
        dur_ns: Ints,
        names: list[int],
        **more: Any,
    ) -> Row:
        count, shares = len(start_ns), more.pop("shares", [])
        blank: dict[str, list[int]] = {
            "level": [0] * count,
            "chosen": [0] * count,
            "owner": [NONE] * count,
            "phase": [NONE] * count,
            "cause_ns": [NONE] * count,
        }
        given = {key: np.asarray(value).astype(int).tolist() for key, value in more.items()}
        return Row(
            kind=kind,
            place=place,
            title=title,
            start_ns=(np.asarray(start_ns, np.int64) - self._zero_ns).tolist(),
            dur_ns=np.asarray(dur_ns, np.int64).tolist(),
            name=names,
            **(blank | given),
            shares=shares,
        )

    def _track_rows(
        self, names: _Names, start: int, end: int, inside: Marks, events: Marks
    ) -> list[Row]:
        found = []
        for track in self._tracks:
            shown = [item for item in track.slices if item.start_ns < end and item.end_ns > start]
            if not shown:
                continue
            starts = np.array([item.start_ns for item in shown], np.int64)
            ends = np.array([item.end_ns for item in shown], np.int64)
            found.append(
                self._row(
                    track.kind,
                    track.place,
                    track.name,
                    starts,
                    ends - starts,
                    [names.of(item.name) for item in shown],
                    level=_nested(starts, ends),
                    chosen=self._chosen(track, starts, ends, inside, events),
                    owner=[names.of(item.detail.get("layer")) for item in shown],
                    phase=[names.of(item.detail.get("phase")) for item in shown],
                )
            )
        return found

    def _chosen(
        self, track: Track, starts: Ints, ends: Ints, inside: Marks, events: Marks
    ) -> Marks:
        """On the host the slices that are chosen ranges; on a device those that hold an event."""
        columns = self._workings.columns
        if track.kind == "wait":
            return np.zeros(len(starts), np.bool_)
        if track.place == "host":
            spans = np.array([item.span for item in self._workings.ranges.items], np.int64)
            return np.isin(starts, columns.spans.start_ns[spans[inside]])
        began = np.sort(columns.device.start_ns[events])
        held: Marks = np.searchsorted(began, starts) < np.searchsorted(began, ends)
        return held

    def _operator_rows(self, names: _Names, start: int, end: int, inside: Marks) -> list[Row]:
        columns, tree = self._workings.columns, self._workings.tree
        spans = columns.spans
        seen = self._operator & (spans.start_ns < end) & (tree.end_ns > start)
        found = []
        for thread in np.unique(spans.thread[seen]).tolist():
            mine = np.flatnonzero(seen & (spans.thread == thread))
            mine = mine[np.argsort(spans.start_ns[mine], kind="stable")]
            items = items_of(self._workings, tree.layer[mine])
            found.append(
                self._row(
                    "operator",
                    "host",
                    f"operators (thread {columns.threads[thread][1]})",
                    spans.start_ns[mine],
                    tree.end_ns[mine] - spans.start_ns[mine],
                    [names.of(columns.names[i]) for i in spans.name[mine].tolist()],
                    level=self._level[mine],
                    chosen=marked(inside, items),
                    owner=self._owners(names, items),
                )
            )
        return found

    def _launch_rows(self, names: _Names, start: int, end: int, inside: Marks) -> list[Row]:
        columns = self._workings.columns
        launches = columns.launches
        seen = (launches.start_ns < end) & (launches.start_ns + launches.dur_ns > start)
        found = []
        for thread in np.unique(launches.thread[seen]).tolist():
            mine = np.flatnonzero(seen & (launches.thread == thread))
            mine = mine[np.argsort(launches.start_ns[mine], kind="stable")]
            starts, ends = launches.start_ns[mine], launches.start_ns[mine] + launches.dur_ns[mine]
            items = self._owner[mine]
            found.append(
                self._row(
                    "launch",
                    "host",
                    f"launches (thread {columns.threads[thread][1]})",
                    starts,
                    ends - starts,
                    [names.of(columns.names[i]) for i in launches.name[mine].tolist()],
                    level=_nested(starts, ends),
                    chosen=marked(inside, items),
                    owner=self._owners(names, items),
                )
            )
        return found

    def _kernel_rows(self, names: _Names, start: int, end: int, events: Marks) -> list[Row]:
        workings = self._workings
        device = workings.columns.device
        seen = (device.start_ns < end) & (device.start_ns + device.dur_ns > start)
        found = []
        pairs = set(zip(device.device[seen].tolist(), device.stream[seen].tolist(), strict=True))
        for on, stream in sorted(pairs):
            mine = np.flatnonzero(seen & (device.device == on) & (device.stream == stream))
            mine = mine[np.argsort(device.start_ns[mine], kind="stable")]
            launch = workings.links.launch[mine]
            cause = np.full(len(mine), NONE, np.int64)
            linked = launch != NONE
            cause[linked] = workings.columns.launches.start_ns[launch[linked]] - self._zero_ns
            keys = [workings.keys[event] for event in mine.tolist()]
            found.append(
                self._row(
                    "kernel",
                    f"device {on}",
                    f"device {on} stream {stream if stream != ABSENT else '?'}",
                    device.start_ns[mine],
                    device.dur_ns[mine],
                    [names.of(workings.columns.names[i]) for i in device.name[mine].tolist()],
                    chosen=events[mine],
                    owner=[names.of(layer) for layer, _ in keys],
                    phase=[names.of(phase) for _, phase in keys],
                    cause_ns=cause,
                    shares=self._shares(names, mine.tolist()),
                )
            )
        return found

    def _shares(self, names: _Names, events: list[int]) -> list[tuple[int, int, int, int]]:
        if self._workings.places is None:
            return []
        parts = [(index, self._workings.parts(event)) for index, event in enumerate(events)]
        return [
            (index, names.of(layer), names.of(phase), ns)
            for index, shared in parts
            if len(shared) > 1
            for (layer, phase), ns in shared
        ]

    def _owners(self, names: _Names, items: Ints) -> list[int]:
        ranges = self._workings.ranges.items
        return [names.of(ranges[i].layer) if i != NONE else NONE for i in items.tolist()]


class _Names:
    """Text to number, so that a name travels once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, name: object) -> int:
        return NONE if name is None else self._numbers.setdefault(str(name), len(self._numbers))

    def all(self) -> list[str]:
        return list(self._numbers)


_ORDER = ("phase", "step", "layer", "operator", "launch", "kernel", "wait")


def _in_order(rows: list[Row]) -> list[Row]:
    """Host above device, and in each from the whole to its parts."""
    return sorted(rows, key=lambda row: (row.place != "host", row.place, _ORDER.index(row.kind)))


def _timed(workings: Workings) -> tuple[Any, Any, Any]:
    columns = workings.columns
    return columns.spans, columns.launches, columns.device


def _owners(workings: Workings) -> Ints:
    """The range around each launch, as an index into the list of ranges."""
    launches = workings.columns.launches
    spans = innermost_layer(
        workings.columns.spans, workings.tree, launches.thread, launches.start_ns
    )
    return np.array(
        [workings.ranges.of_span[span] if span != NONE else NONE for span in spans.tolist()],
        np.int64,
    )


def _levels(workings: Workings, kept: Marks) -> Ints:
    """How many of the spans kept lie around each one."""
    parent, counts = workings.tree.parent.tolist(), kept.tolist()
    level = [0] * len(parent)
    for span in workings.tree.order.tolist():  # parents before children
        outer = parent[span]
        if outer != NONE:
            level[span] = level[outer] + counts[outer]
    return np.array(level, np.int64)


def _nested(starts: Ints, ends: Ints) -> list[int]:
    """Depth of each interval among those that nest around it; ordered by start, outer ones first."""
    level: list[int] = []
    open_ends: list[int] = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        while open_ends and open_ends[-1] <= start:
            open_ends.pop()
        level.append(len(open_ends))
        open_ends.append(end)
    return level
