"""`Interval`: an estimate's uncertainty, with the method that made it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A two-sided confidence interval, in the unit of the estimate it belongs to."""

    low: float
    high: float
    method: str  # "order statistics", "t", "studentised bootstrap, 2,000 resamples, seed 0"
    confidence: float = 0.95

    @property
    def half_width(self) -> float:
        """Half the distance between the two ends."""
        return (self.high - self.low) / 2

    def overlaps(self, other: Interval) -> bool:
        """Whether the two intervals share a value."""
        return self.low <= other.high and other.low <= self.high
