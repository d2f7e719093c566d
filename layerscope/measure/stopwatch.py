"""Times one piece of work on a device: CUDA events on a GPU, the monotonic clock on a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol


class Stopwatch(Protocol):
    """Times one piece of work on a device."""

    def time_ns(self, work: Callable[[], object]) -> float:
        """Run `work` and return how long the device took for one run, in nanoseconds."""


class HostStopwatch:
    """The monotonic clock, for work that is done when the call returns."""

    def time_ns(self, work: Callable[[], object]) -> float:
        """Wall time of the call."""
        start = time.perf_counter_ns()
        work()
        return time.perf_counter_ns() - start


class CudaStopwatch:
    """A pair of CUDA events around the work, read after the device has passed both."""

    def time_ns(self, work: Callable[[], object]) -> float:
        """Device time between the two events, with the work queued once before the first.

        The device is then busy while the host launches what is timed; else the first event would
        pass at once and the launch's own microseconds would count.
        """
        import torch

        event: Callable[..., Any] = torch.cuda.Event
        start, end = (event(enable_timing=True) for _ in range(2))
        work()
        start.record()
        work()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e6
