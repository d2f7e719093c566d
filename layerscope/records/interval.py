"""`Interval`: an estimate's uncertainty, with the method that made it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A two-sided confidence interval, in the unit of the estimate it belongs to.

    Attributes:
        confidence: how often such intervals hold the truth; None where that is not known, and then
            `reason` says why. It is then a range, and nobody may call it 95 %.
    """

    low: float
    high: float
    method: str  # "order statistics", "Clopper-Pearson", "Student's t"
    confidence: float | None = 0.95
    reason: str | None = None

    @property
    def half_width(self) -> float:
        """Half the distance between the two ends."""
        return (self.high - self.low) / 2

    def overlaps(self, other: Interval) -> bool:
        """Whether the two intervals share a value."""
        return self.low <= other.high and other.low <= self.high
