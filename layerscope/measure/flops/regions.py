"""Which bytes of a storage a tensor looks at, and how many distinct ones several tensors do.

A strided tensor is a lattice: from its first byte, `n` places that lie `stride` bytes apart, in one
or more levels. Expanded dimensions and sliding windows visit the same bytes again and again; their
levels collapse into the run of bytes that is really there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# A union that no rule below settles is counted on a map of its span, up to this many places.
LARGEST_MAP = 1 << 26

Level = tuple[int, int]  # (stride in bytes, places), innermost first


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes of one storage: `start` and its levels. No levels: no bytes."""

    start: int
    levels: tuple[Level, ...]

    @property
    def end(self) -> int:
        """One past the last byte."""
        return self.start + _extent(self.levels)

    @property
    def is_run(self) -> bool:
        """Whether the bytes lie side by side."""
        return len(self.levels) == 1 and self.levels[0][0] == 1


def region_of(tensor: torch.Tensor) -> Region:
    """The bytes of its storage that a strided tensor looks at."""
    size = tensor.element_size()
    levels = _levels(tuple(tensor.shape), tuple(tensor.stride()), size)
    return Region(int(tensor.storage_offset()) * size, levels)


def run_of(start: int, length: int) -> Region:
    """Bytes side by side."""
    return Region(start, ((1, length),) if length else ())


def bytes_in(regions: Iterable[Region]) -> int:
    """Distinct bytes of several regions of one storage: their union.

    Exact, but for overlaps that form no common lattice over more than `LARGEST_MAP` places: those
    count as the sum of their parts, at most their span.
    """
    kept = sorted({r for r in regions if r.levels}, key=lambda r: (r.start, r.end))
    total, group, end = 0, list[Region](), -1
    for region in kept:
        if group and region.start >= end:
            total += _bytes_of_overlapping(group)
            group = []
        group.append(region)
        end = region.end if len(group) == 1 else max(end, region.end)
    return total + (_bytes_of_overlapping(group) if group else 0)


@lru_cache(maxsize=4096)
def _levels(shape: tuple[int, ...], strides: tuple[int, ...], size: int) -> tuple[Level, ...]:
    """Collapse the dimensions, smallest stride first, into as few levels as hold the same bytes."""
    if 0 in shape or not size:
        return ()
    levels: list[Level] = [(1, size)]
    steps = sorted((s * size, n) for s, n in zip(strides, shape, strict=True) if s and n > 1)
    for stride, places in steps:
        step, there = levels[-1]
        # Copies of a run that start on its own lattice, no further apart than it is long.
        if stride % step == 0 and stride // step <= there:
            levels[-1] = (step, (places - 1) * (stride // step) + there)
        else:
            levels.append((stride, places))
    return tuple(levels)


def _extent(levels: Sequence[Level]) -> int:
    return 1 + sum((places - 1) * stride for stride, places in levels) if levels else 0


def _is_disjoint(levels: Sequence[Level]) -> bool:
    """Whether no byte is visited twice: each level steps over all that lies below it."""
    return all(
        stride >= _extent(levels[:index]) for index, (stride, _) in enumerate(levels) if index
    )


def _places(levels: Sequence[Level]) -> int:
    return math.prod(places for _, places in levels)


def _bytes_of_overlapping(group: Sequence[Region]) -> int:
    if len(group) == 1 and _is_disjoint(group[0].levels):
        return _places(group[0].levels)
    if all(region.is_run for region in group):
        return _end(group) - group[0].start  # sorted, each begins before the others end
    shared = _side_by_side(group)
    return _on_a_map(group) if shared is None else shared


def _end(group: Sequence[Region]) -> int:
    """One past the last byte of several regions."""
    return max(region.end for region in group)


def _side_by_side(group: Sequence[Region]) -> int | None:
    """Slices of one matrix's columns (q, k and v of one product): equal rows, runs within them."""
    outer = group[0].levels[1:]
    if not outer or any(r.levels[1:] != outer or r.levels[0][0] != 1 for r in group):
        return None
    spans = [run_of(region.start, region.levels[0][1]) for region in group]
    width = _end(spans) - spans[0].start
    if not _is_disjoint(((1, width), *outer)):
        return None
    return bytes_in(spans) * _places(outer)


def _on_a_map(group: Sequence[Region]) -> int:
    """Mark every place and count the marks; the unit is the widest that all places share."""
    import torch

    start = group[0].start
    numbers = [r.start - start for r in group]
    numbers += [stride for r in group for stride, _ in r.levels[1:]]
    runs = [r.levels[0] for r in group]
    numbers += [n if step == 1 else 1 for step, n in runs]
    unit = math.gcd(*numbers) or 1
    span = -(-(_end(group) - start) // unit)
    visits = sum(_places(r.levels) // unit for r in group)
    if max(span, visits) > LARGEST_MAP:
        return min(sum(_places(r.levels) for r in group), _end(group) - start)
    marks = torch.zeros(span, dtype=torch.bool, device="cpu")
    for region in group:
        inner, *outer = region.levels
        sizes = [inner[1] // unit, *(places for _, places in outer)]
        strides = [1, *(stride // unit for stride, _ in outer)]
        marks.as_strided(sizes, strides, (region.start - start) // unit).fill_(True)
    return int(marks.count_nonzero()) * unit
