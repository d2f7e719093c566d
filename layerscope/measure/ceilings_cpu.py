"""A CPU's rates: as many threads as torch uses, each with short work of its own, under one clock.

The threads work side by side, and `best_moment` finds when all of them ran undisturbed: other work on
the cores costs rounds, not the result. With many threads, also products that torch itself spreads over
them, which need less of Python.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from layerscope.core.words import first_line
from layerscope.measure.best_moment import Burst, best_apart, best_moment, moments_together
from layerscope.measure.ceilings_bench import NotMeasured, Reading
from layerscope.measure.matmul_precision import matmul_precision
from layerscope.measure.stopwatch import HostStopwatch, Stopwatch
from layerscope.records.work import COPY

if TYPE_CHECKING:
    import torch

    Work = Callable[[], object]

SIDES = (384, 768, 256)  # of square products, one thread each: 0.2 to 5 ms at 0.2 TFLOP/s
# Of so many threads Python starts the bursts too slowly; a product over all of them is tried, too. With
# few, its threads would only wait for one another on a busy machine.
MANY_THREADS = 9
SPREAD_SIDE = 1024
CHUNK_BYTES = 1 << 20
LEAST_COPY_BYTES, COPY_BYTES_A_THREAD, MOST_COPY_BYTES = 1 << 27, 1 << 24, 1 << 30
TURN_S = 0.1  # of one shape in one round
# Every second round the threads sleep together between bursts: the scheduler lets who has slept go
# first, so that they start together even where other work wants the cores.
ON_S, OFF_S = 0.005, 0.015
# A thread that has its core for less of a burst's time was kept waiting.
UNDISTURBED = 0.95
USUAL = 1.25  # longer than this many times the shortest: something else slowed the burst
GLANCE_SIDE, GLANCE_REPEATS, GLANCE_COPY_BYTES = 384, 8, 1 << 25
# The rate of one undisturbed thread times their number is out of reach, clocks that rise when only one
# works included.
OUT_OF_REACH = 2.0


class CpuBench:
    """The CPU under torch's present number of threads; see the module's docstring."""

    def __init__(self, stopwatch: Stopwatch | None = None) -> None:
        import torch

        self._threads = torch.get_num_threads()
        self._watch = stopwatch or HostStopwatch()
        self._rounds = 0
        self._best_side: dict[str, int] = {}

    @property
    def method(self) -> str:
        sides = ", ".join(map(str, sorted(SIDES)))
        return (
            f"best moment of {self._threads} threads side by side, matmuls with sides of {sides}; copy "
            f"of {self._copy_bytes() >> 20} MiB in pieces of {CHUNK_BYTES >> 20} MiB, bytes read plus "
            "written; monotonic clock"
        )

    def round(self, rate: str) -> Reading:
        self._rounds += 1
        if rate == COPY:
            size = self._copy_bytes()
            part = max(2 * CHUNK_BYTES, size // self._threads)
            return self._together(lambda: _copy_work(part), 2 * CHUNK_BYTES, f"{size >> 20} MiB")
        dtype = self._dtype(rate)
        with matmul_precision("highest"):
            if rate in self._best_side:
                side = self._best_side[rate]
                return self._together(partial(_product, side, dtype), 2 * side**3, _cube(side))
            by_side = {
                side: self._together(partial(_product, side, dtype), 2 * side**3, _cube(side))
                for side in SIDES
            }
            # What the threads reach apart tells the shapes' order whatever else runs.
            self._best_side[rate] = max(by_side, key=lambda side: by_side[side].apart_per_s)
            found = list(by_side.values())
            if self._threads >= MANY_THREADS:
                found.append(self._spread(dtype))
        best = max(found, key=lambda reading: reading.per_s)
        count, apart = sum(r.count for r in found), max(r.apart_per_s for r in found)
        together = sum(r.together or 0 for r in found)
        return Reading(best.per_s, best.shape, count, apart, together)

    def glance(self, rate: str) -> tuple[float, float]:
        """One thread's rate, and what torch makes of one product over all of them.

        Of the copy one thread's usual rate alone: its fastest piece may have come from a cache.
        """
        if rate == COPY:
            with _one_thread():
                times = self._times(_copy_work(GLANCE_COPY_BYTES), GLANCE_COPY_BYTES // CHUNK_BYTES)
            reached = 2 * CHUNK_BYTES / statistics.median(times) * 1e9
            return reached, OUT_OF_REACH * self._threads * 2 * CHUNK_BYTES / min(times) * 1e9
        amount = 2 * GLANCE_SIDE**3
        with matmul_precision("highest"):
            work = _product(GLANCE_SIDE, self._dtype(rate))
            together = min(self._times(work, GLANCE_REPEATS))
            with _one_thread():
                alone = min(self._times(work, GLANCE_REPEATS))
        reached = amount / min(together, alone) * 1e9
        return reached, OUT_OF_REACH * max(reached, self._threads * amount / alone * 1e9)

    def _dtype(self, rate: str) -> torch.dtype:
        import torch

        if rate == "tf32":
            raise NotMeasured("a CPU has no TF32")
        dtype: torch.dtype = getattr(torch, rate)
        try:
            _product(8, dtype)()
        except RuntimeError as error:
            raise NotMeasured(first_line(error)) from None
        return dtype

    def _times(self, work: Work, repeats: int) -> list[float]:
        import torch

        with torch.inference_mode():
            work()
            return [max(1.0, self._watch.time_ns(work)) for _ in range(repeats)]

    def _spread(self, dtype: torch.dtype) -> Reading:
        """One product over all of torch's threads."""
        import torch

        amount = 2 * SPREAD_SIDE**3
        with torch.inference_mode():
            work = _product(SPREAD_SIDE, dtype)
            times = [max(1.0, self._watch.time_ns(work))]
            end = time.perf_counter() + TURN_S
            while time.perf_counter() < end:
                times.append(max(1.0, self._watch.time_ns(work)))
        return Reading(amount / min(times) * 1e9, f"{_cube(SPREAD_SIDE)} over all", len(times))

    def _together(self, make: Callable[[], Work], amount: float, shape: str) -> Reading:
        """Every thread does its own `make()` for a turn."""
        off_s = 0.0 if self._rounds % 2 else OFF_S
        with _one_thread():
            bursts = side_by_side(make, self._threads, TURN_S + 4 * off_s, off_s)
        together, apart = (best(bursts, amount) * 1e9 for best in (best_moment, best_apart))
        count = sum(map(len, bursts))
        return Reading(together, f"{shape} a thread", count, apart, moments_together(bursts))

    def _copy_bytes(self) -> int:
        return min(MOST_COPY_BYTES, max(LEAST_COPY_BYTES, COPY_BYTES_A_THREAD * self._threads))


def side_by_side(
    make: Callable[[], Work], threads: int, turn_s: float, off_s: float = 0.0
) -> list[list[Burst]]:
    """Run the work of `threads` threads at the same time, each again and again for `turn_s`.

    Args:
        make: called once in each thread; gives what that thread repeats.
        off_s: pause between spells of `ON_S`, which all threads take at the same moments.
    """
    import torch

    found: list[list[Burst]] = [[] for _ in range(threads)]
    errors: list[BaseException] = []
    start_ns: list[int] = []
    barrier = threading.Barrier(threads, action=lambda: start_ns.append(time.perf_counter_ns()))

    def run(place: int) -> None:
        try:
            with torch.inference_mode():
                work = make()
                work()
                barrier.wait()
                found[place] = _repeat(work, start_ns[0], turn_s, off_s)
        except threading.BrokenBarrierError:
            return
        except BaseException as error:  # raised again below, in the caller's thread
            errors.append(error)
            barrier.abort()

    workers = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    return found


def _repeat(work: Work, start_ns: int, turn_s: float, off_s: float) -> list[Burst]:
    bursts: list[Burst] = []
    had_core: list[bool] = []
    period_ns, on_ns = round((ON_S + off_s) * 1e9), round(ON_S * 1e9)
    end_ns = start_ns + round(turn_s * 1e9)
    now = time.perf_counter_ns()
    while now < end_ns:
        if off_s and (now - start_ns) % period_ns > on_ns:
            time.sleep((period_ns - (now - start_ns) % period_ns) / 1e9)
            now = time.perf_counter_ns()
        ran = time.thread_time_ns()
        work()
        ran = time.thread_time_ns() - ran
        done = time.perf_counter_ns()
        bursts.append(Burst(now, done))
        had_core.append(ran >= UNDISTURBED * (done - now))
        now = done
    # A hypervisor that takes the core leaves the thread's own CPU time running: only the length tells.
    usual_ns = USUAL * min((b.end_ns - b.start_ns for b in bursts), default=0)
    return [
        replace(burst, undisturbed=had and burst.end_ns - burst.start_ns <= usual_ns)
        for burst, had in zip(bursts, had_core, strict=True)
    ]


@contextmanager
def _one_thread() -> Iterator[None]:
    """torch works in the calling thread alone; threads started inside do, too."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _product(side: int, dtype: torch.dtype) -> Work:
    import torch

    a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
    out = torch.empty(side, side, dtype=dtype)
    return lambda: torch.mm(a, b.t(), out=out)  # as nn.Linear holds its weights


def _copy_work(size: int) -> Work:
    """A copy of `size` bytes piece after piece, one a call, so that none stays in a near cache."""
    import torch

    # Every page is touched: the first touch costs more than a copy.
    source = torch.ones(size, dtype=torch.uint8)
    target = torch.zeros(size, dtype=torch.uint8)
    starts = range(0, size - CHUNK_BYTES + 1, CHUNK_BYTES)
    pieces = itertools.cycle(
        [(target[at : at + CHUNK_BYTES], source[at : at + CHUNK_BYTES]) for at in starts]
    )

    def work() -> None:
        to, of = next(pieces)
        to.copy_(of)

    return work


def _cube(side: int) -> str:
    return f"{side}x{side}x{side}"
