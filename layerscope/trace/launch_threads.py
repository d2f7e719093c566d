"""Spans and launches in, the thread that each launch was really made on out.

Kineto gives a launch the system's number of its thread by way of the thread's address, keeps the first
number it saw for an address, and never forgets one. A thread that ends leaves its address to the next
one, whose launches then carry the dead thread's number (on a GPU, a request a thread lost all layers
from the second on). The operator whose External id a launch carries tells the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from layerscope.trace.categories import ABSENT

if TYPE_CHECKING:
    from layerscope.trace.columns import HostSpans, Ints, Launches

    Mask = npt.NDArray[np.bool_]

_NONE = -1


def launching_threads(
    spans: HostSpans, launches: Launches, threads: Sequence[tuple[str, str]]
) -> Ints:
    """The thread of each launch: that of the operator that made it, where the trace says another.

    A launch moves where no operator of its id is open on the thread it names and one is on another
    thread of its process. Launches without an operator go with those before and behind them that name
    the same thread.

    Args:
        threads: (process, thread) by index.
    """
    if not len(launches.thread) or not len(spans.thread):
        return launches.thread
    operator = _operators(spans, launches, _processes(threads))
    known = operator != _NONE
    thread = launches.thread.copy()
    thread[known] = spans.thread[operator[known]]
    for named in np.unique(launches.thread[thread != launches.thread]).tolist():
        _follow(named, launches, known, thread, spans)
    return thread


def _processes(threads: Sequence[tuple[str, str]]) -> Ints:
    """A number for the process of each thread."""
    numbers: dict[str, int] = {}
    found = [numbers.setdefault(process, len(numbers)) for process, _ in threads]
    return np.array(found, np.int64)


def _operators(spans: HostSpans, launches: Launches, process: Ints) -> Ints:
    """The span of each launch's id that is open around its start, on its own thread if there is one."""
    named = np.flatnonzero(spans.external_id != ABSENT)
    named = named[np.argsort(spans.external_id[named], kind="stable")]
    ids = spans.external_id[named]
    first = np.searchsorted(ids, launches.external_id, side="left")
    last = np.searchsorted(ids, launches.external_id, side="right")
    found = np.full(len(launches.thread), _NONE, np.int64)
    linked = np.flatnonzero((last > first) & (launches.external_id != ABSENT))
    # Nearly always the id has one span, on the same thread: all of those at once.
    span = named[first[linked]]
    right = _around(spans, launches, span, linked) & (spans.thread[span] == launches.thread[linked])
    found[linked[right]] = span[right]
    for launch in linked[~right].tolist():
        same = named[first[launch] : last[launch]]
        same = same[_around(spans, launches, same, np.full(len(same), launch))]
        same = same[process[spans.thread[same]] == process[launches.thread[launch]]]
        if len(same):
            own = same[spans.thread[same] == launches.thread[launch]]
            found[launch] = (own if len(own) else same)[0]
    return found


def _around(spans: HostSpans, launches: Launches, span: Ints, launch: Ints) -> Mask:
    """Whether each span is open when the launch beside it starts."""
    start = launches.start_ns[launch]
    begun = spans.start_ns[span]
    found: Mask = (begun <= start) & (start <= begun + spans.dur_ns[span])
    return found


def _follow(named: int, launches: Launches, known: Mask, thread: Ints, spans: HostSpans) -> None:
    """Give the launches that name a thread and have no operator the thread of their neighbours."""
    mine = np.flatnonzero(launches.thread == named)
    mine = mine[np.argsort(launches.start_ns[mine], kind="stable")]
    sure = np.flatnonzero(known[mine])
    for place in np.flatnonzero(~known[mine]).tolist():
        at = int(np.searchsorted(sure, place))
        near = {int(thread[mine[sure[n]]]) for n in (at - 1, at) if 0 <= n < len(sure)}
        if len(near) > 1:
            start = launches.start_ns[mine[place]]
            near = {one for one in near if _is_open(spans, one, start)}
        if len(near) == 1:
            thread[mine[place]] = near.pop()


def _is_open(spans: HostSpans, thread: int, at_ns: int) -> bool:
    """Whether any span of a thread is open at a time."""
    here = (spans.thread == thread) & (spans.start_ns <= at_ns)
    return bool((spans.start_ns[here] + spans.dur_ns[here] >= at_ns).any())
