"""What measures one device's rates: the names of the rates in, one `Reading` a round out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from layerscope.records.work import COPY

DTYPES = ("float16", "bfloat16", "tf32", "float32")
RATES = (*DTYPES, COPY)


@dataclass(frozen=True, slots=True)
class Reading:
    """The best of one round.

    Attributes:
        per_s: FLOP/s, or bytes/s of the copy.
        shape: what gave it, in words.
        count: single timings that it is the best of.
        apart_per_s: what several workers reach added up, each at its own best moment.
        together: moments at which all of them ran undisturbed; None where there is one worker.
    """

    per_s: float
    shape: str
    count: int
    apart_per_s: float = 0.0
    together: int | None = None


class NotMeasured(Exception):
    """Why one rate cannot be had on this device."""


class NoRoom(NotMeasured):
    """The device has the rate, and no memory free to measure it in now."""


class Bench(Protocol):
    """One device under test."""

    @property
    def method(self) -> str:
        """How a round is measured, in words."""

    def round(self, rate: str) -> Reading:
        """Measure one of `RATES` for a fraction of a second.

        Raises:
            NotMeasured: the device has no such rate.
        """

    def glance(self, rate: str) -> tuple[float, float]:
        """In some milliseconds: a rate that was reached just now, and one that is out of reach.

        Raises:
            NotMeasured: the device has no such rate.
        """
