"""Delays as operators of our own, so that torch.compile keeps them: `planted::delay` and `delay_`.

Inside `Delays.running(lengths)` every execution takes the next length and is noted; outside they take
no time. The truth of a delay does not come from the trace. On the CPU the busy loop times itself,
because a shared machine may interrupt it; on a GPU `torch.cuda._sleep` spins for a number of cycles,
whose length `calibrate` finds with CUDA events.
"""

from __future__ import annotations

import gc
import itertools
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

OPERATORS = ("planted::delay", "planted::delay_")
KERNEL = "spin_kernel"
# Large enough for zlib to let go of the interpreter's lock, so that threads are delayed side by side.
_BLOCK = bytes(16_384)
_CALIBRATION_CYCLES = (2_000_000, 6_000_000, 12_000_000)


@dataclass(slots=True)
class Execution:
    """One delay that was executed, in the order of its thread.

    Attributes:
        plant: the number that the operator was called with.
        amount: what was asked for: ns of the busy loop, or cycles of the device.
        thread: the system's id of the thread.
        real_ns: what the busy loop measured; None for a device.
    """

    plant: int
    amount: int
    thread: int
    real_ns: int | None = None


class Delays:
    """What the operators do now: nothing, or the next of some lengths."""

    def __init__(self) -> None:
        self._amounts: Iterator[int] | None = None
        self._executions: list[Execution] = []

    @contextmanager
    def running(self, amounts: Iterable[int]) -> Iterator[list[Execution]]:
        """Give each execution inside one of these amounts, in turn; yield the list of executions."""
        self._executions = []
        self._amounts = iter(amounts)
        collecting = gc.isenabled()
        gc.disable()  # a collection between the operator's edge and the loop is in no truth
        try:
            yield self._executions
        finally:
            self._amounts = None
            if collecting:
                gc.enable()

    def counting(self) -> AbstractContextManager[list[Execution]]:
        """Note executions without delaying any."""
        return self.running(itertools.repeat(0))

    def begin(self, plant: int) -> Execution | None:
        """Note an execution and give it its length; None where none are wanted."""
        if self._amounts is None:
            return None
        amount = next(self._amounts, None)
        if amount is None:
            raise RuntimeError("more delays were executed than lengths were given")
        execution = Execution(plant, amount, threading.get_native_id())
        self._executions.append(execution)
        return execution


DELAYS = Delays()


def _busy(plant: int, result: Callable[[], Any]) -> Any:
    """The delay of the CPU: all that the operator does lies between the two readings of the clock."""
    began = time.perf_counter_ns()
    execution = DELAYS.begin(plant)
    found = result()
    if execution is not None and execution.amount:
        end = began + execution.amount
        while time.perf_counter_ns() < end:
            zlib.crc32(_BLOCK)
        # Whoever waits for this core gets it now, inside the loop, and not on the way out.
        os.sched_yield()
        execution.real_ns = time.perf_counter_ns() - began
    return found


def _sleep(plant: int, result: Callable[[], Any]) -> Any:
    """The delay of the device, launched on the current stream."""
    execution = DELAYS.begin(plant)
    if execution is not None and execution.amount:
        torch.cuda._sleep(execution.amount)
    return result()


def _operators(delay: Callable[[int, Callable[[], Any]], Any]) -> dict[str, Callable[..., Any]]:
    return {
        "delay": lambda x, plant: delay(plant, x.clone),
        "delay_": lambda x, plant: delay(plant, lambda: None),
    }


_LIBRARY = torch.library.Library("planted", "FRAGMENT")
_LIBRARY.define("delay(Tensor x, int plant) -> Tensor")
_LIBRARY.define("delay_(Tensor(a!) x, int plant) -> ()")
for _key, _delay in (("CPU", _busy), ("CUDA", _sleep)):
    for _name, _operator in _operators(_delay).items():
        # Called from code behind a graph break, dynamo would compile the busy loop itself.
        _LIBRARY.impl(_name, torch.compiler.disable(_operator), _key)
_LIBRARY.impl("delay", lambda x, plant: torch.empty_like(x), "Meta")
_LIBRARY.impl("delay_", lambda x, plant: None, "Meta")


@dataclass(frozen=True)
class Clock:
    """The device's clock: a spin of `cycles` takes `fixed_us + cycles * us_per_cycle`."""

    fixed_us: float
    us_per_cycle: float

    def us(self, cycles: int) -> float:
        """How long a spin of so many cycles takes."""
        return self.fixed_us + cycles * self.us_per_cycle

    def cycles(self, us: float) -> int:
        """How many cycles take so long."""
        return round((us - self.fixed_us) / self.us_per_cycle)


def calibrate() -> Clock:
    """Time spins by CUDA events, which know nothing of the profiler; least squares over the fastest."""
    if not hasattr(torch.cuda, "_sleep"):
        raise RuntimeError(f"torch {torch.__version__} has no torch.cuda._sleep")
    torch.cuda.synchronize()
    torch.cuda._sleep(_CALIBRATION_CYCLES[-1])  # the clock rises from idle
    fastest = [min(_timed_us(cycles) for _ in range(5)) for cycles in _CALIBRATION_CYCLES]
    mean_x = sum(_CALIBRATION_CYCLES) / len(fastest)
    mean_y = sum(fastest) / len(fastest)
    pairs = list(zip(_CALIBRATION_CYCLES, fastest, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in pairs)
    slope /= sum((x - mean_x) ** 2 for x, _ in pairs)
    return Clock(mean_y - slope * mean_x, slope)


def _timed_us(cycles: int) -> float:
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda._sleep(
        _CALIBRATION_CYCLES[0]
    )  # else the device waits for the launch between the events
    began.record()
    torch.cuda._sleep(cycles)
    ended.record()
    ended.synchronize()
    return float(began.elapsed_time(ended)) * 1000
