"""The obvious account: quadratic loops over plain tuples, written to be read, not to be fast."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    fqn: str
    start: int
    end: int
    tid: int


@dataclass(frozen=True)
class Work:
    """A device event: its launch time and thread, or no launch."""

    start: int
    duration: int
    launched_at: int | None
    tid: int = 1


def innermost(ranges: list[Range], tid: int, at: int) -> Range | None:
    """The shortest range of this thread that is open at this time; later ones win a tie."""
    open_now = [
        (r.end - r.start, -i, r)
        for i, r in enumerate(ranges)
        if r.tid == tid and r.start <= at < r.end
    ]
    return min(open_now)[2] if open_now else None


def clamped(ranges: list[Range]) -> list[Range]:
    """Ranges that nest: one that ends after the range it starts in ends with it. Outer ones first."""
    found: list[Range] = []
    for r in sorted(ranges, key=lambda r: (r.tid, r.start, -r.end)):
        around = [o for o in found if o.tid == r.tid and o.start <= r.start < o.end]
        end = min([r.end, *(o.end for o in around)])
        found.append(Range(r.fqn, r.start, end, r.tid))
    return found


def device_self(ranges: list[Range], work: list[Work]) -> Counter[str]:
    first = min((r.start for r in ranges), default=None)
    total: Counter[str] = Counter()
    for item in work:
        if item.launched_at is None:
            before = first is not None and item.start < first
            total["(before window)" if before else "(no launch record)"] += item.duration
        else:
            found = innermost(ranges, item.tid, item.launched_at)
            total[found.fqn if found else "(outside model)"] += item.duration
    return total


def host_self(ranges: list[Range]) -> Counter[str]:
    """Every nanosecond of the window, one by one, to the innermost range open in it."""
    total: Counter[str] = Counter()
    if not ranges:
        return total
    start, end = min(r.start for r in ranges), max(r.end for r in ranges)
    edges = sorted({start, end, *(r.start for r in ranges), *(r.end for r in ranges)})
    for left, right in itertools.pairwise(edges):
        found = innermost(ranges, ranges[0].tid, left)
        total[found.fqn if found else "(outside model)"] += right - left
    return total
