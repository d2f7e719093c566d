"""Seeded choices: whole numbers that name a sample go in, the same choices everywhere come out.

Only PCG64's raw 64-bit stream is used. NumPy promises that stream for good, but not the numbers its
`Generator` methods make of it, and a changed draw would silently change every synthetic data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Dice:
    """A stream of choices that depends on nothing but its entropy."""

    def __init__(self, *entropy: int) -> None:
        from numpy.random import PCG64, SeedSequence

        self._bits = PCG64(SeedSequence(entropy))

    def below(self, bound: int) -> int:
        """A whole number in [0, bound)."""
        return (int(self._bits.random_raw()) * bound) >> 64

    def between(self, low: int, high: int) -> int:
        """A whole number in [low, high], both ends included."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """True in `percent` of 100 cases."""
        return self.below(100) < percent

    def pick(self, items: Sequence[Item]) -> Item:
        """One item."""
        return items[self.below(len(items))]

    def draw(self, items: Sequence[Item], count: int) -> list[Item]:
        """`count` different items in random order; `count` may not exceed the items there are."""
        pool = list(items)
        return [pool.pop(self.below(len(pool))) for _ in range(count)]
