"""A trace in, the file that TensorBoard's "PyTorch Profiler" tab (torch-tb-profiler) reads out.

That plugin was last published in 2023. On a trace of today it finds no device time, because it knows
none of today's categories of launches, and no module, because it looks for a Python tracer's events.
Here launches get the category it knows, every layer range becomes the module event it looks for, and
all links (launch to operator, device event to launch) are the ones of our own account. Durations are
the trace's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from layerscope.account.phases import Ranges
from layerscope.account.workings import Workings
from layerscope.report.trace_file import TraceFile
from layerscope.trace.columns import Ints, TraceColumns
from layerscope.trace.raw import RawEvent, RawTrace, arguments, raw_us, time_ns
from layerscope.trace.tree import NONE, SpanTree, innermost, nearest_above

SUFFIX = ".pt.trace.json.gz"
# What the plugin calls a launch that no operator made: its tree hangs launches below operators only.
DIRECT_LAUNCH = "(launch outside operators)"

_STEP_MARK = "ProfilerStep#"
_BASE_TIME = "baseTimeNanoseconds"
# Events before the first range (the profiler's own) keep a time above zero.
_HEADROOM_NS = 1_000_000_000
_NO_OPERATOR = 0  # the plugin hangs launches with this External id below the thread itself


@dataclass(frozen=True)
class Fed:
    """What the file holds: `modules` distinct call paths in the Module view, `launches` moved below
    an operator made for them because a module launched them itself."""

    path: Path
    modules: int
    direct_launches: int


def write_tb_profiler(
    trace: Path, workings: Workings, classes: Mapping[str, str], path: Path
) -> Fed:
    """Derive the plugin's file from a trace.

    Args:
        trace: Kineto's file; it is read once more and left as it is.
        workings: the same trace, worked out.
        classes: FQN to class name, shown behind the FQN; may be empty.
        path: of the new file. Its name must end in `SUFFIX`.

    Raises:
        DataError: the trace cannot be read.
        EnvironmentProblem: the file cannot be written.
    """
    feed = _Feed(workings, classes)
    raw = RawTrace(trace)
    with TraceFile(path, feed.metadata(raw.metadata)) as file:
        for step in feed.step():
            file.add(step)
        for event in raw.events():
            for fields in feed.rewritten(event):
                file.add(fields)
    return Fed(path, modules=feed.modules, direct_launches=feed.direct_launches)


class _Feed:
    """Rewrites one event after the other."""

    def __init__(self, workings: Workings, classes: Mapping[str, str]) -> None:
        self._columns, self._tree = workings.columns, workings.tree
        self._ranges, self._links = workings.ranges, workings.links
        self._hidden = _hidden(self._columns, self._tree)
        kept = ~self._hidden
        self._above = nearest_above(self._tree, kept)
        launches = self._columns.launches
        self._home = innermost(
            self._columns.spans, self._tree, kept, launches.thread, launches.start_ns
        )
        _undouble(self._columns, self._tree, kept, self._above, self._home)
        self._leader = _direct_launches(self._columns, self._tree, self._home)
        self._base_ns = _base_ns(self._columns)
        self._ends = _Ends(self._columns, self._tree, self._above, self._base_ns)
        self._paths = _call_paths(self._ranges)
        self._classes = classes
        self.modules = len(set(self._paths.values()))
        self.direct_launches = len(self._leader)

    def metadata(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The head of the file; where the clock's zero moved, the base time moves with it."""
        kept = {key: value for key, value in found.items() if key != "traceEvents"}
        if isinstance(kept.get(_BASE_TIME), int):
            kept[_BASE_TIME] += self._base_ns
        return kept

    def step(self) -> Iterator[Mapping[str, Any]]:
        """One step over the whole window, where the trace marks none.

        Without it the plugin's Overview ends with the last operator and leaves out what the device
        does later.
        """
        if any(name.startswith(_STEP_MARK) for name in self._columns.names):
            return
        spans, device = self._columns.spans, self._columns.device
        starts = np.concatenate([spans.start_ns, device.start_ns])
        ends = np.concatenate([self._tree.end_ns, device.start_ns + device.dur_ns])
        thread = int(np.bincount(spans.thread).argmax()) if len(spans.thread) else NONE
        pid, tid = self._columns.threads[thread] if thread != NONE else ("0", "0")
        yield {
            "ph": "X",
            "cat": "user_annotation",
            "name": f"{_STEP_MARK}0",
            "pid": int(pid) if pid.isdecimal() else pid,
            "tid": int(tid) if tid.isdecimal() else tid,
            "ts": raw_us(int(starts.min()) - self._base_ns),
            # A µs more: the step must be the longest of the spans that begin with it.
            "dur": raw_us(int(ends.max() - starts.min()) + 1000),
            "args": {},
        }

    def rewritten(self, event: RawEvent) -> Iterator[Mapping[str, Any]]:
        """The event as the plugin understands it; for some launches an operator before it."""
        fields: dict[str, Any] = dict(event.fields)
        fields.setdefault("name", "")  # the plugin gives up on a whole file for want of one
        if event.role == "span":
            yield self._span(event, fields)
        elif event.role == "launch":
            yield from self._launch(event, fields)
        elif event.role == "device":
            yield self._device(event, fields)
        elif not (self._ranges.items and _is_python(fields)):
            if "ts" in fields:
                fields["ts"] = raw_us(time_ns(fields["ts"]) - self._base_ns)
            fields.setdefault("cat", "other")
            yield fields

    def _span(self, event: RawEvent, fields: dict[str, Any]) -> Mapping[str, Any]:
        row = event.row
        fields["ts"] = raw_us(int(self._columns.spans.start_ns[row]) - self._base_ns)
        fields["dur"] = self._ends.duration(row)
        if self._tree.is_layer[row]:
            item = self._ranges.items[self._ranges.of_span[row]]
            path, above = self._paths[self._ranges.of_span[row]]
            cls = self._classes.get(item.layer)
            fields["name"] = f"nn.Module: {item.layer}" + (f" ({cls})" if cls else "")
            fields["cat"] = "python_function"
            # One id for all calls of a call path: the plugin then lists a module once, with the
            # children of every call, and not once for every set of children.
            fields["args"] = {
                "Python id": path,
                "Python parent id": above,
                "Python module id": path,
                "phase": item.phase,
            }
            return fields
        if self._hidden[row] and not self._columns.spans.annotation[row]:
            fields["cat"] = "user_annotation"
        fields["args"] = {**arguments(event.fields), "External id": row + 1}
        return fields

    def _launch(self, event: RawEvent, fields: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
        launches, row, home = self._columns.launches, event.row, int(self._home[event.row])
        start, dur = int(launches.start_ns[row]) - self._base_ns, int(launches.dur_ns[row])
        external = self._external(row)
        if self._leader.get(row) == row:
            yield {
                "ph": "X",
                "cat": "cpu_op",
                "name": DIRECT_LAUNCH,
                "pid": fields.get("pid", 0),
                "tid": fields.get("tid", 0),
                "ts": raw_us(start),
                "dur": self._ends.inside(home, start, dur),
                "args": {"External id": external},
            }
        fields["cat"] = "runtime"
        fields["ts"], fields["dur"] = raw_us(start), raw_us(dur)
        fields["args"] = {**event.args, "External id": external, "correlation": row + 1}
        yield fields

    def _device(self, event: RawEvent, fields: dict[str, Any]) -> Mapping[str, Any]:
        device, row, launch = self._columns.device, event.row, int(self._links.launch[event.row])
        fields["ts"] = raw_us(int(device.start_ns[row]) - self._base_ns)
        fields["dur"] = raw_us(int(device.dur_ns[row]))
        # Without a launch record: an id of its own, that no launch has.
        correlation = launch + 1 if launch != NONE else -(row + 1)
        fields["args"] = {**event.args, "correlation": correlation}
        fields["args"].pop("External id", None)
        if launch != NONE:
            fields["args"]["External id"] = self._external(launch)
        return fields

    def _external(self, launch: int) -> int:
        """The number of the operator that the plugin hangs a launch below."""
        if launch in self._leader:
            return len(self._columns.spans.name) + self._leader[launch] + 1
        home = int(self._home[launch])
        return home + 1 if home != NONE else _NO_OPERATOR


def _is_python(fields: Mapping[str, Any]) -> bool:
    """A Python tracer's event: it would stand beside our module events with ids of its own."""
    return bytes(fields.get("cat", b"")) == b'"python_function"'


def _hidden(columns: TraceColumns, tree: SpanTree) -> npt.NDArray[np.bool_]:
    """Spans that the plugin must not take for operators.

    User annotations, which it leaves out itself but for its own step marks; and operators around
    layers (a compiled region, a phase), whose time it would count as the outer module's own.
    """
    hidden = columns.spans.annotation.astype(np.bool_)
    steps = np.array([name.startswith(_STEP_MARK) for name in columns.names], np.bool_)
    if len(hidden):
        hidden &= ~steps[columns.spans.name]
    parent, is_layer = tree.parent.tolist(), tree.is_layer.tolist()
    for span in np.flatnonzero(tree.is_layer).tolist():
        outer = parent[span]
        while outer != NONE and not is_layer[outer] and not hidden[outer]:
            hidden[outer] = not steps[int(columns.spans.name[outer])]
            outer = parent[outer]
    return hidden


def _direct_launches(columns: TraceColumns, tree: SpanTree, home: Ints) -> dict[int, int]:
    """Launches that a layer made outside any operator -> the launch whose operator they share.

    A runtime call and the driver call inside it share one: nested, the plugin would merge two.
    """
    launches = columns.launches
    direct = np.flatnonzero(home != NONE)
    direct = direct[tree.is_layer[home[direct]]]
    order = np.lexsort((-launches.dur_ns[direct], launches.start_ns[direct], home[direct]))
    leader: dict[int, int] = {}
    last = NONE
    for row in direct[order].tolist():
        start = int(launches.start_ns[row])
        follows = (
            last == NONE
            or home[row] != home[last]
            or start >= int(launches.start_ns[last] + max(1, launches.dur_ns[last]))
        )
        last = row if follows else last
        leader[row] = last
    return leader


def _undouble(
    columns: TraceColumns,
    tree: SpanTree,
    kept: npt.NDArray[np.bool_],
    above: Ints,
    home: Ints,
) -> None:
    """Move the launches of an operator whose only child has its name down to that child.

    The plugin merges the two and forgets the outer one's launches.
    """
    operators = kept & ~tree.is_layer
    inner = np.flatnonzero(kept & (above != NONE))
    children = np.bincount(above[inner], minlength=len(above))
    only = np.full(len(above), NONE, np.int64)
    only[above[inner]] = inner
    name = columns.spans.name
    doubled = operators & (children == 1) & (only != NONE)
    doubled &= operators[only] & (name[only] == name)
    moved = (home != NONE) & doubled[home] if len(doubled) else np.zeros(len(home), np.bool_)
    while moved.any():
        home[moved] = only[home[moved]]
        moved = (home != NONE) & doubled[home]


def _base_ns(columns: TraceColumns) -> int:
    """What is taken off every time: the plugin counts in floats, whose steps grow with the value."""
    starts = [part.start_ns for part in (columns.spans, columns.launches, columns.device)]
    first = min((int(times.min()) for times in starts if len(times)), default=_HEADROOM_NS)
    return (first - _HEADROOM_NS) // 1000 * 1000


class _Ends:
    """Durations with which spans nest in the plugin's float arithmetic, as they do in whole ns.

    It drops an operator, with all its launches, when start + duration lies beyond its parent's end or
    its successor's start, be it by the last bit; then the duration is shortened by that bit.
    """

    def __init__(self, columns: TraceColumns, tree: SpanTree, above: Ints, base_ns: int) -> None:
        self._dur_ns = tree.end_ns - columns.spans.start_ns
        self._fitted: dict[int, float] = {}
        starts = ((columns.spans.start_ns - base_ns) / 1000).tolist()
        durations = (self._dur_ns / 1000).tolist()
        outers = above.tolist()
        end: list[float] = ((tree.end_ns - base_ns) / 1000).tolist()
        for span in tree.order.tolist():  # parents before children
            duration, outer = durations[span], outers[span]
            latest = end[span] if outer == NONE else min(end[span], end[outer])
            if starts[span] + duration > latest:
                duration = _within(starts[span], duration, latest)
                self._fitted[span] = duration
            end[span] = starts[span] + duration
        self._end = end

    def duration(self, span: int) -> msgspec.Raw | float:
        """The span's duration in µs."""
        fitted = self._fitted.get(span)
        return raw_us(int(self._dur_ns[span])) if fitted is None else fitted

    def inside(self, span: int, start_ns: int, dur_ns: int) -> float:
        """The duration in µs of something that lies in this span and may touch its neighbour."""
        latest = min(self._end[span], (start_ns + dur_ns) / 1000)
        return _within(start_ns / 1000, dur_ns / 1000, latest)


def _within(start: float, duration: float, end: float) -> float:
    duration = max(0.0, min(duration, end - start))
    while duration and start + duration > end:
        duration = math.nextafter(duration, 0.0)
    return duration


def _call_paths(ranges: Ranges) -> dict[int, tuple[int, int | None]]:
    """For each layer range the number of its call path, and that of the path around it.

    A module called from two places has two paths, and so two lines, each with its own time.
    """
    numbers: dict[tuple[int | None, str], int] = {}
    found: dict[int, tuple[int, int | None]] = {}
    for index, item in enumerate(ranges.items):
        above = found[item.above][0] if item.above != NONE else None
        found[index] = (numbers.setdefault((above, item.layer), len(numbers) + 1), above)
    return found
