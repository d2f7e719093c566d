"""A trace in, the device's idle time out: every gap, the layer whose launch it waited for, and why.

Each nanosecond of the window is active or idle on each device. A gap belongs to the (layer, phase)
of the device event that ended it, an active nanosecond to the event that first covered it, so that
phases divide the window without rest.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from layerscope.account.workings import Workings
from layerscope.core.vocabulary import PHASES
from layerscope.records.layer_table import LayerTable
from layerscope.records.waits import Waited, Waits
from layerscope.trace.attribution import Attribution
from layerscope.trace.columns import Ints, TraceColumns
from layerscope.trace.tree import NONE

Key = tuple[str, str]  # (layer, phase)
Marks = npt.NDArray[np.bool_]
Verdict = Literal["launch-bound", "partly launch-bound", "device-bound", "waiting", "unknown"]

# The row of the gap after the last device event: nothing was launched that it could wait for.
NOTHING_FOLLOWED = "(nothing followed)"

# From this share of a phase on, waiting for launches is what the phase mostly does.
LAUNCH_BOUND_SHARE = 0.5
# Below this share a phase's gaps are the normal spacing of kernels.
BUSY_SHARE = 0.1
# What the host launches on an idle device starts this soon after the launch call has returned: on H100
# and H200 2 us in the median and 8.4 us at most, of 51,623 launches in three profiled runs. What starts
# later waited for something on the device: an event, a host function, another device.
DISPATCH_NS = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class IdleRow:
    """Gaps that waited for one (layer, phase). Nanoseconds; `gaps` counts those longer than 0.

    Attributes:
        active_ns: device time that this row's events were the first to cover.
        idle_ns: `host_ns` + `queue_ns` + `unknown_ns`.
        host_ns: of gaps whose launch began after the device had run out of work, what the host is
            the reason for: until that launch had begun, and the launch itself (`DISPATCH_NS`).
        late_ns: the part of `host_ns` before that launch began; the rest is launch latency.
        queue_ns: gaps whose launch had begun before, and what is left of the others: the event waited
            for another stream, for an event, for a copy, or for the queue itself.
        stalled_ns: the part of `queue_ns` that a launch on an idle device does not take (`DISPATCH_NS`):
            the event waited for something on the device.
        unknown_ns: gaps whose event has no launch record, and the gap after the last event.
        launches: launch calls that put work on a device; a graph's launch is one.
        longest_ns: the longest of the gaps.
    """

    layer: str
    phase: str
    gaps: int
    active_ns: int
    host_ns: int
    late_ns: int
    queue_ns: int
    unknown_ns: int
    launches: int
    longest_ns: int = 0
    stalled_ns: int = 0

    @property
    def idle_ns(self) -> int:
        """All gaps that waited for this row."""
        return self.host_ns + self.queue_ns + self.unknown_ns


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseIdle:
    """One phase's part of the window; see `IdleRow` for the fields of the same name.

    Attributes:
        host_self_ns: host time of the phase's rows; None without ranges.
        first_to_last_launch_ns: from the phase's first launch call to the start of its last one.
    """

    phase: str
    gaps: int
    active_ns: int
    host_ns: int
    late_ns: int
    queue_ns: int
    unknown_ns: int
    launches: int
    host_self_ns: int | None
    first_to_last_launch_ns: int
    stalled_ns: int = 0

    @property
    def idle_ns(self) -> int:
        """All gaps of the phase."""
        return self.host_ns + self.queue_ns + self.unknown_ns

    @property
    def span_ns(self) -> int:
        """The phase's part of the window: active and idle, summed over the devices."""
        return self.active_ns + self.idle_ns

    @property
    def idle_share(self) -> float | None:
        """Idle over span; None for a phase that no device event belongs to."""
        return self.idle_ns / self.span_ns if self.span_ns else None

    @property
    def host_share(self) -> float | None:
        """The share of the span in which the device waited for a launch that came late."""
        return self.host_ns / self.span_ns if self.span_ns else None

    @property
    def wall_per_launch_ns(self) -> float | None:
        """Span over launches: how often the phase put new work on the device."""
        return self.span_ns / self.launches if self.launches else None

    @property
    def host_per_launch_ns(self) -> float | None:
        """Host time of the phase's ranges over launches: what one launch costs the host."""
        if self.host_self_ns is None or not self.launches:
            return None
        return self.host_self_ns / self.launches

    @property
    def verdict(self) -> Verdict:
        """What the phase mostly waited for.

        "launch-bound": at least half of it for launches that came late. "partly launch-bound": at
        least a tenth. "waiting": idle for at least a tenth, but not for the host. "device-bound":
        the device was busy. "unknown": no device event.
        """
        idle, host = self.idle_share, self.host_share
        if idle is None or host is None:
            return "unknown"
        if host >= LAUNCH_BOUND_SHARE:
            return "launch-bound"
        if host >= BUSY_SHARE:
            return "partly launch-bound"
        return "waiting" if idle >= BUSY_SHARE else "device-bound"


@dataclass(frozen=True, kw_only=True)
class Idle:
    """The window of one trace, divided. `active_ns` + `idle_ns` = `window_ns` * `devices`, exactly.

    Attributes:
        window_ns: first device or range start to last device or range end.
        rows: by (layer, phase), longest idle first.
        phases: in the order the model runs them.
    """

    window_ns: int
    devices: int
    active_ns: int
    idle_ns: int
    rows: tuple[IdleRow, ...]
    phases: tuple[PhaseIdle, ...]

    @property
    def idle_share(self) -> float:
        """Idle over the window of all devices."""
        return self.idle_ns / (self.window_ns * self.devices) if self.window_ns else 0.0

    def phase(self, name: str) -> PhaseIdle | None:
        """One phase, or None when nothing of it reached a device."""
        return next((p for p in self.phases if p.phase == name), None)


def idle_of(workings: Workings, table: LayerTable) -> Idle | None:
    """Divide the window of a trace.

    Args:
        workings: the trace, worked out.
        table: its account; the window and the phases' host time are its own.

    Returns:
        None when the trace holds no device event: then nothing says when the device was idle.
    """
    columns, ranges, links = workings.columns, workings.ranges, workings.links
    device = columns.device
    window = table.whole.window_span_ns
    if not len(device.name) or window is None:
        return None
    first = first_ns(workings)
    codes: dict[Key, int] = {}
    code = np.array([codes.setdefault(key, len(codes)) for key in workings.keys], np.int64)
    tail = codes.setdefault((NOTHING_FOLLOWED, ranges.resting_phase), len(codes))
    sums = _Sums(len(codes))
    devices = np.unique(device.device)
    for current in devices:
        gaps = gaps_of(columns, links, int(current), first)
        _divide(columns, gaps, code, tail, sums, first + window)
    launched = _launch_times(columns, links, code)
    rows = [_row(key, at, sums, len(launched[at])) for key, at in codes.items()]
    kept = [row for row in rows if row.idle_ns or row.active_ns or row.launches]
    return Idle(
        window_ns=window,
        devices=len(devices),
        active_ns=sum(row.active_ns for row in kept),
        idle_ns=sum(row.idle_ns for row in kept),
        rows=tuple(sorted(kept, key=lambda r: (-r.idle_ns, r.layer, r.phase))),
        phases=_phases(kept, codes, launched, table),
    )


def waits_of(idle: Idle | None) -> Waits | None:
    """The gaps before each (layer, phase), as the roofline asks for them; None without device events."""
    if idle is None:
        return None
    return {
        (row.layer, row.phase): Waited(idle_ns=row.idle_ns, late_ns=row.host_ns)
        for row in idle.rows
    }


class _Sums:
    """One integer column per measure, indexed by the code of a (layer, phase)."""

    def __init__(self, count: int) -> None:
        self.gaps, self.active, self.host, self.late, self.queue, self.unknown, self.longest = (
            np.zeros(count, np.int64) for _ in range(7)
        )
        self.stalled = np.zeros(count, np.int64)


@dataclass(frozen=True)
class Gaps:
    """One device's events in order of start and the gap before each. Arrays of one length.

    Attributes:
        event: index into the device events.
        start_ns: where the gap before the event begins: all earlier events have ended.
        length_ns: of the gap; 0 where the device was busy.
        launched_ns: when the launch of the event began; `NONE` without a launch record.
        due_ns: when the event would have started had it waited for its launch alone; `NONE` likewise.
        last_end_ns: when the last event ended.
    """

    event: Ints
    start_ns: Ints
    length_ns: Ints
    launched_ns: Ints
    due_ns: Ints
    last_end_ns: int

    @property
    def late(self) -> Marks:
        """The launch began after the device had run out of work: the host was late."""
        late: Marks = (self.launched_ns != NONE) & (self.launched_ns >= self.start_ns)
        return late

    @property
    def stalled_ns(self) -> Ints:
        """The part of each gap that its launch does not explain; 0 without a launch record."""
        explained = np.clip(self.due_ns - self.start_ns, 0, self.length_ns)
        return np.where(self.launched_ns != NONE, self.length_ns - explained, 0)

    @property
    def host_ns(self) -> Ints:
        """The part of each gap in which the device waited for the host; 0 where it was not late."""
        waited = np.minimum(self.due_ns - self.start_ns, self.length_ns)
        return np.where(self.late, waited, 0)


def gaps_of(columns: TraceColumns, links: Attribution, on_device: int, first_ns: int) -> Gaps:
    """The gaps between one device's events, from `first_ns` on."""
    device, launch_start = columns.device, columns.launches.start_ns
    events = np.flatnonzero(device.device == on_device)
    events = events[np.argsort(device.start_ns[events], kind="stable")]
    start, end = device.start_ns[events], (device.start_ns + device.dur_ns)[events]
    # What had been covered when an event began: gaps and new ground are measured against it.
    reached = np.maximum.accumulate(np.concatenate([[first_ns], end]))
    launch = links.launch[events]
    matched = launch != NONE
    launched, due = (np.full(len(events), NONE, np.int64) for _ in range(2))
    launched[matched] = launch_start[launch[matched]]
    due[matched] = launched[matched] + columns.launches.dur_ns[launch[matched]] + DISPATCH_NS
    return Gaps(
        event=events,
        start_ns=reached[:-1],
        length_ns=np.maximum(start - reached[:-1], 0),
        launched_ns=launched,
        due_ns=due,
        last_end_ns=int(reached[-1]),
    )


def first_ns(workings: Workings) -> int:
    """Where the window begins: first device event, first root range or the captured block."""
    columns = workings.columns
    starts: list[int] = columns.spans.start_ns[workings.edges].tolist()
    return min([int(columns.device.start_ns.min()), *starts])


def _divide(
    columns: TraceColumns,
    gaps: Gaps,
    code: Ints,
    tail: int,
    sums: _Sums,
    last: int,
) -> None:
    """Add one device's gaps and active time to the sums; `last` is the end of the window."""
    events, gap, before, launched = gaps.event, gaps.length_ns, gaps.start_ns, gaps.launched_ns
    start, end = columns.device.start_ns[events], (columns.device.start_ns + columns.device.dur_ns)
    mark = code[events]
    np.add.at(sums.gaps, mark, (gap > 0).astype(np.int64))
    np.maximum.at(sums.longest, mark, gap)
    np.add.at(sums.active, mark, np.maximum(end[events] - np.maximum(before, start), 0))
    matched, late = launched != NONE, gaps.late
    host = gaps.host_ns
    np.add.at(sums.host, mark[late], host[late])
    # A launch stamped after its own event began (clock skew) is late for the gap, not beyond it.
    np.add.at(sums.late, mark[late], np.minimum(launched - before, gap)[late])
    np.add.at(sums.queue, mark[matched], (gap - host)[matched])
    np.add.at(sums.stalled, mark, gaps.stalled_ns)
    np.add.at(sums.unknown, mark[~matched], gap[~matched])
    rest = last - gaps.last_end_ns
    sums.unknown[tail] += rest
    sums.gaps[tail] += int(rest > 0)
    sums.longest[tail] = max(sums.longest[tail], rest)


def _launch_times(
    columns: TraceColumns, links: Attribution, code: Ints
) -> defaultdict[int, list[int]]:
    """Start of every launch that put work on a device, under the code of its first event."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    launches, first = np.unique(links.launch, return_index=True)
    for launch, event in zip(launches.tolist(), first.tolist(), strict=True):
        if launch != NONE:
            found[int(code[event])].append(int(columns.launches.start_ns[launch]))
    return found


def _row(key: Key, at: int, sums: _Sums, launches: int) -> IdleRow:
    return IdleRow(
        layer=key[0],
        phase=key[1],
        gaps=int(sums.gaps[at]),
        active_ns=int(sums.active[at]),
        host_ns=int(sums.host[at]),
        late_ns=int(sums.late[at]),
        queue_ns=int(sums.queue[at]),
        unknown_ns=int(sums.unknown[at]),
        launches=launches,
        longest_ns=int(sums.longest[at]),
        stalled_ns=int(sums.stalled[at]),
    )


def _phases(
    rows: Iterable[IdleRow],
    codes: dict[Key, int],
    launched: dict[int, list[int]],
    table: LayerTable,
) -> tuple[PhaseIdle, ...]:
    by_phase: defaultdict[str, list[IdleRow]] = defaultdict(list)
    for row in rows:
        by_phase[row.phase].append(row)
    host: Counter[str] = Counter()
    for layer in table.rows:
        host[layer.phase] += layer.cpu_self_ns or 0
    has_host = table.whole.host_window_ns is not None
    ordered = sorted(by_phase, key=lambda p: (PHASES.index(p) if p in PHASES else len(PHASES), p))
    return tuple(
        PhaseIdle(
            phase=phase,
            gaps=sum(row.gaps for row in mine),
            active_ns=sum(row.active_ns for row in mine),
            host_ns=sum(row.host_ns for row in mine),
            late_ns=sum(row.late_ns for row in mine),
            queue_ns=sum(row.queue_ns for row in mine),
            unknown_ns=sum(row.unknown_ns for row in mine),
            stalled_ns=sum(row.stalled_ns for row in mine),
            launches=sum(row.launches for row in mine),
            host_self_ns=host[phase] if has_host else None,
            first_to_last_launch_ns=_spread(
                [t for row in mine for t in launched.get(codes[row.layer, row.phase], ())]
            ),
        )
        for phase in ordered
        for mine in [by_phase[phase]]
    )


def _spread(times: list[int]) -> int:
    return max(times) - min(times) if times else 0
