"""The clock that measurements read: in goes nothing, out come monotonic nanoseconds."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock that can also wait, so that a test can stand in for time itself."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary fixed moment; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after at least `seconds`."""
        ...

    def stay_awake(self, seconds: float) -> None:
        """Return after at least `seconds` without giving the processor away."""
        ...


class SystemClock:
    """The operating system's monotonic clock. On Linux all processes of a machine share it."""

    def monotonic_ns(self) -> int:
        """Nanoseconds of `time.monotonic_ns()`."""
        return time.monotonic_ns()

    def sleep(self, seconds: float) -> None:
        """Wait with `time.sleep()`."""
        time.sleep(seconds)

    def stay_awake(self, seconds: float) -> None:
        """Wait in a loop: a processor that slept runs the next launches up to half slower."""
        until = time.monotonic_ns() + round(seconds * 1e9)
        while time.monotonic_ns() < until:
            pass
