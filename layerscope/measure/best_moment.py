"""Timed bursts of threads that work side by side in, the best rate they reached together out.

On a shared machine a thread loses the core for whole time slices. Work cut into bursts shorter than a
slice runs undisturbed in most of them, and the moment at which every thread has such a burst shows
what the machine does when nothing else runs. A thread that waits counts at that moment with the little
it gets done, so that rates which were not reached together are not added up unasked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Burst:
    """One piece of work of one thread; nanoseconds of one clock that all threads read."""

    start_ns: int
    end_ns: int
    undisturbed: bool = True  # the thread had its core to itself from start to end


# Of many threads some always wait for a moment.
ALL_BUT = 0.1


def moments_together(threads: Sequence[Sequence[Burst]]) -> int:
    """At how many starts of an undisturbed burst (nearly) all threads were within one."""
    edges = sorted(
        (time, end, place)
        for place, bursts in enumerate(threads)
        for burst in bursts
        if burst.undisturbed
        for time, end in ((burst.start_ns, 1), (burst.end_ns, 0))
    )
    least = len(threads) - int(ALL_BUT * len(threads))
    running, found = 0, 0
    for _, starts, _ in edges:
        running += 1 if starts else -1
        found += bool(starts and running >= least)
    return found


def best_apart(threads: Sequence[Sequence[Burst]], work: float) -> float:
    """The sum of each thread's best rate, whenever that was, per nanosecond."""
    return sum(
        max((work / (b.end_ns - b.start_ns) for b in bursts if b.end_ns > b.start_ns), default=0.0)
        for bursts in threads
    )


def best_moment(threads: Sequence[Sequence[Burst]], work: float) -> float:
    """The highest sum of rates at one moment, per nanosecond; 0.0 without bursts.

    Args:
        threads: the bursts of each thread, which do not overlap within a thread.
        work: what one burst does, in any unit.
    """
    edges: list[tuple[int, bool, int, float]] = []
    for place, bursts in enumerate(threads):
        for burst in bursts:
            if burst.end_ns > burst.start_ns:
                rate = work / (burst.end_ns - burst.start_ns)
                edges += [(burst.start_ns, True, place, rate), (burst.end_ns, False, place, 0.0)]
    edges.sort(key=lambda edge: edge[:2])  # ends before starts of the same moment
    now = [0.0] * len(threads)
    best = 0.0
    for _, _, place, rate in edges:
        now[place] = rate
        best = max(best, sum(now))
    return best
