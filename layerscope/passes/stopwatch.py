"""The parts of a run's command in, how each spent its time out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from layerscope.records.pass_time import START, PassTime
from layerscope.workload.calls import Calls

Seconds = Callable[[], float]


class Stopwatch:
    """Times one part after the other. Make it when the run begins.

    Args:
        calls: of `generate()`, counted by whoever runs it.
        age: seconds since the process began; None: it ran something else before, or nobody knows.
        wall: monotonic seconds; tests give their own.
        cpu: CPU seconds of the process.
    """

    def __init__(
        self,
        calls: Calls,
        age: float | None = None,
        wall: Seconds = time.perf_counter,
        cpu: Seconds = time.process_time,
    ) -> None:
        self._calls, self._wall, self._cpu = calls, wall, cpu
        self._zero = wall() - (age or 0.0)
        self._parts: list[PassTime] = []
        if age is not None:
            self._parts.append(PassTime(name=START, start_s=0.0, wall_s=age, cpu_s=cpu()))

    @property
    def parts(self) -> tuple[PassTime, ...]:
        """Those that have ended, in the order in which they began."""
        return tuple(self._parts)

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Time what runs inside as one part."""
        began, cpu, calls = self._wall(), self._cpu(), self._calls.count
        yield
        self._parts.append(
            PassTime(
                name=name,
                start_s=began - self._zero,
                wall_s=self._wall() - began,
                cpu_s=self._cpu() - cpu,
                batches=self._calls.count - calls,
            )
        )
