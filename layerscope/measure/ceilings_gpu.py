"""A CUDA device's rates: short runs of many shapes under CUDA events, the best of them a round.

Bursts of a millisecond with pauses between, for a board at its power limit lowers its clock, and a
model's products, which come between smaller kernels, then run faster than a long measurement of the
same product. The shapes are squares, those of vision-language models (which a library may favour) and
one that fills every SM in every wave; weights lie as `nn.Linear` holds them, with and without a bias,
which take different paths through the library.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from layerscope.core.words import first_line
from layerscope.measure.ceilings_bench import NoRoom, NotMeasured, Reading
from layerscope.measure.matmul_precision import matmul_precision
from layerscope.measure.stopwatch import CudaStopwatch, Stopwatch
from layerscope.records.work import COPY

if TYPE_CHECKING:
    import torch

Shape = tuple[int, int, int]  # m, n, k of [m, k] x [k, n]
COPY_BYTES = 1 << 30
LEAST_UNIT_NS = 1_000_000
MOST_NS = 8_000_000  # a longer product would heat the board and gains no rate
UNITS = 3
WARM_UPS = 2
PAUSE_S = 0.003
KEPT = 4  # combinations that go on after the first round


def shapes(multiprocessors: int) -> tuple[Shape, ...]:
    """m, n, k to try; the last two are four waves of 128 x 256 tiles on this many SMs."""
    rows = max(d for d in range(1, math.isqrt(multiprocessors) + 1) if multiprocessors % d == 0)
    wave = (128 * 2 * rows, 256 * 2 * (multiprocessors // rows))
    return (
        (4096, 4096, 4096), (8192, 8192, 8192), (4096, 8192, 8192), (8192, 5632, 4096),
        (4112, 1408, 6144), (4112, 6144, 1408), (3712, 2048, 5120), (3712, 5120, 2048),
        (*wave, 4096), (*wave, 8192),
    )  # fmt: skip


class CudaBench:
    """One CUDA device; see the module's docstring."""

    def __init__(self, device: torch.device, stopwatch: Stopwatch | None = None) -> None:
        import torch

        self._device = device
        self._watch = stopwatch or CudaStopwatch()
        properties = torch.cuda.get_device_properties(device)
        self._has_tf32 = properties.major >= 8
        self._shapes = shapes(int(properties.multi_processor_count))
        self._going_on: dict[str, list[tuple[Shape, bool]]] = {}
        self._best_per_s: dict[str, float] = {}

    @property
    def method(self) -> str:
        return (
            f"best of many runs of about 1 ms over {len(self._shapes)} matmul shapes with weights as "
            f"nn.Linear holds them; copy of {COPY_BYTES >> 20} MiB, bytes read plus written; CUDA "
            "events"
        )

    def round(self, rate: str) -> Reading:
        import torch

        with torch.inference_mode():
            return self._copy() if rate == COPY else self._matmul(rate)

    def glance(self, rate: str) -> tuple[float, float]:
        import torch

        with torch.inference_mode():
            if rate == COPY:
                reached = self._copy().per_s
            else:
                try:
                    with self._precision(rate):
                        reached, _ = self._product(rate, (4096, 4096, 4096), biased=False)
                except torch.OutOfMemoryError as error:
                    raise NoRoom(first_line(error)) from None
                except RuntimeError as error:
                    raise NotMeasured(first_line(error)) from None
        return reached, 3 * reached

    def _precision(self, rate: str) -> AbstractContextManager[None]:
        if rate == "tf32" and not self._has_tf32:
            raise NotMeasured("this GPU has no TF32")
        return matmul_precision("high" if rate == "tf32" else "highest")

    def _matmul(self, rate: str) -> Reading:
        every = [(shape, biased) for shape in self._shapes for biased in (False, True)]
        found: list[tuple[float, tuple[Shape, bool], int]] = []
        reason = "no shape fits"
        with self._precision(rate):
            for shape, biased in self._going_on.get(rate, every):
                best = self._best_per_s.get(rate, 0.0)
                if best and 2 * math.prod(shape) / best * 1e9 > MOST_NS:
                    continue
                try:
                    per_s, count = self._product(rate, shape, biased=biased)
                except RuntimeError as error:  # out of memory, or a dtype it cannot multiply
                    reason = first_line(error)
                    continue
                found.append((per_s, (shape, biased), count))
                self._best_per_s[rate] = max(best, per_s)
        if not found:
            raise NotMeasured(reason)
        found.sort(key=lambda one: -one[0])
        self._going_on.setdefault(rate, [combination for _, combination, _ in found[:KEPT]])
        per_s, (shape, biased), _ = found[0]
        words = "x".join(map(str, shape)) + (" with bias" if biased else "")
        return Reading(per_s, words, sum(count for _, _, count in found))

    def _product(self, rate: str, shape: Shape, *, biased: bool) -> tuple[float, int]:
        """FLOP/s of the fastest unit, and how many were timed."""
        import torch

        m, n, k = shape
        dtype = torch.float32 if rate == "tf32" else getattr(torch, rate)
        # Random operands: equal ones draw less power, and a GPU then clocks higher than a model's
        # products ever see.
        a = torch.randn(m, k, device=self._device, dtype=dtype)
        weight = torch.randn(n, k, device=self._device, dtype=dtype)
        bias = torch.randn(n, device=self._device, dtype=dtype) if biased else None
        best_ns, count = self._fastest(lambda: torch.nn.functional.linear(a, weight, bias))
        return 2 * math.prod(shape) / best_ns * 1e9, count

    def _copy(self) -> Reading:
        """Bytes read plus written a second, as a memory copy and as an elementwise kernel."""
        import torch

        free, _ = torch.cuda.mem_get_info(self._device)
        if free // 4 < COPY_BYTES:
            torch.cuda.empty_cache()  # what torch keeps of freed tensors counts as taken
            free, _ = torch.cuda.mem_get_info(self._device)
        size = min(COPY_BYTES, free // 4) // 4 * 4
        if size < 1 << 26:
            raise NoRoom(f"{free >> 20} MiB are free on the device; 256 are needed")
        try:
            source = torch.ones(size // 4, device=self._device, dtype=torch.float32)
            target = torch.empty_like(source)
        except RuntimeError as error:  # what is free may lie in pieces
            raise NoRoom(first_line(error)) from None
        ways: dict[str, Callable[[], object]] = {
            "copy": lambda: target.copy_(source),
            "elementwise": lambda: torch.mul(source, 1.0, out=target),
        }
        found = {words: self._fastest(work) for words, work in ways.items()}
        words = min(found, key=lambda way: found[way][0])
        count = sum(timed for _, timed in found.values())
        return Reading(2 * size / found[words][0] * 1e9, f"{size >> 20} MiB, {words}", count)

    def _fastest(self, work: Callable[[], object]) -> tuple[float, int]:
        """The shortest time of one run in nanoseconds, over units of about a millisecond."""
        time.sleep(PAUSE_S)
        once = min(self._watch.time_ns(work) for _ in range(WARM_UPS))
        inner = max(1, math.ceil(LEAST_UNIT_NS / max(once, 1.0)))

        def unit() -> None:
            for _ in range(inner):
                work()

        return min(once, *(self._watch.time_ns(unit) / inner for _ in range(UNITS))), UNITS
