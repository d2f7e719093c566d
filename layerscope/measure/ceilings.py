"""The rates a device really reaches: a device in, `Ceilings` out; measured once and then cached.

Matmul: the best median over several square shapes, per dtype. Copy: one large buffer onto another,
bytes read plus bytes written. CUDA events on a GPU, the monotonic clock on a CPU.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from layerscope.measure.ceilings_cache import load_cached, store
from layerscope.measure.datasheets import datasheet_of
from layerscope.records.work import Ceilings

if TYPE_CHECKING:
    import torch

MATMUL_SIDES = {"cuda": (4096, 8192, 16384), "cpu": (256, 512, 1024)}
COPY_BYTES = {"cuda": 1 << 30, "cpu": 1 << 27}
# Per dtype and shape: as many repeats as fit, between these counts.
BUDGET_NS = 120_000_000
REPEATS = (3, 20)
WARM_UPS = 2


class Stopwatch(Protocol):
    """Times one piece of work on a device."""

    def time_ns(self, work: Callable[[], object]) -> float:
        """Run `work` once and return how long the device took, in nanoseconds."""


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
        """Device time between the two events."""
        import torch

        event: Callable[..., Any] = torch.cuda.Event
        start, end = (event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e6


def ceilings_for(
    device: torch.device, *, driver: str | None = None, cache: Path | None = None
) -> Ceilings:
    """The ceilings of a device: from the cache where this machine measured them, else measured now.

    Args:
        device: a CUDA device or the CPU.
        driver: GPU driver version, part of the key under which the result is kept.
        cache: file to keep results in; `cache_file()` when left out.
    """
    path = cache or cache_file()
    key = ceilings_key(device, driver)
    known = load_cached(path, key)
    if known is not None:
        return known
    return store(path, measure_ceilings(device, key=key))


def measure_ceilings(
    device: torch.device, *, key: str, stopwatch: Stopwatch | None = None
) -> Ceilings:
    """Measure now; takes some seconds, and the device should have nothing else to do.

    Args:
        key: what the result is filed under.
        stopwatch: CUDA events or the monotonic clock when left out.
    """
    import torch

    watch = stopwatch or (CudaStopwatch() if device.type == "cuda" else HostStopwatch())
    rates: dict[str, float] = {}
    shapes: dict[str, str] = {}
    absent: dict[str, str] = {}
    with torch.inference_mode():
        for name in ("float16", "bfloat16", "tf32", "float32"):
            try:
                rates[name], shapes[name] = _matmul_rate(device, name, watch)
            except _NotMeasured as reason:
                absent[name] = str(reason)
        copy_rate = _copy_rate(device, watch)
    sheet = datasheet_of(device_name(device))
    return Ceilings(
        key=key,
        device=device_name(device),
        measured_utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        matmul_flops_per_s=rates,
        matmul_shape=shapes,
        copy_bytes_per_s=copy_rate,
        method=(
            f"best median over square matmuls of {MATMUL_SIDES[_kind(device)]}; copy of "
            f"{COPY_BYTES[_kind(device)] >> 20} MiB, bytes read plus written; "
            + ("CUDA events" if device.type == "cuda" else "monotonic clock")
        ),
        absent=absent,
        datasheet_flops_per_s=dict(sheet.flops_per_s) if sheet else None,
        datasheet_bytes_per_s=sheet.bytes_per_s if sheet else None,
    )


def ceilings_key(device: torch.device, driver: str | None) -> str:
    """Device, driver and torch; on a CPU the number of threads, which decides its rates."""
    import torch

    if device.type == "cuda":
        return f"{device_name(device)} | driver {driver or 'unknown'} | torch {torch.__version__}"
    threads = torch.get_num_threads()
    return f"{device_name(device)} | {threads} threads | torch {torch.__version__}"


def device_name(device: torch.device) -> str:
    """The GPU's name as its driver gives it, or the CPU model."""
    import torch

    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cache_file() -> Path:
    """Where ceilings are kept: the user's cache folder of this platform."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "layerscope" / "ceilings.json"


class _NotMeasured(Exception):
    """Why one dtype has no rate."""


def _kind(device: torch.device) -> str:
    return "cuda" if device.type == "cuda" else "cpu"


def _matmul_rate(device: torch.device, name: str, watch: Stopwatch) -> tuple[float, str]:
    """Best median rate over the shapes, in FLOP/s, and the shape that gave it."""
    import torch

    if name == "tf32" and not _has_tf32(device):
        raise _NotMeasured(f"{device_name(device)} has no TF32")
    dtype = torch.float32 if name == "tf32" else getattr(torch, name)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    best, shape, reason = 0.0, "", "no shape fits"
    try:
        for side in MATMUL_SIDES[_kind(device)]:
            flops = 2 * side**3
            # Rates change slowly with the shape: skip one that would not fit the time twice.
            if best and flops / best * 1e9 > BUDGET_NS:
                break
            # Random operands: equal ones draw less power, and a GPU then clocks higher than a
            # model's matmuls ever see.
            a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
            out = torch.empty(side, side, device=device, dtype=dtype)
            rate = flops / median_ns(_multiply(a, b, out), watch) * 1e9
            if rate > best:
                best, shape = rate, f"{side}x{side}x{side}"
    except RuntimeError as error:  # out of memory, or a dtype this device cannot multiply
        reason = str(error).strip().splitlines()[0][:200]
    finally:
        torch.set_float32_matmul_precision(before)
    if not best:
        raise _NotMeasured(reason)
    return best, shape


def _multiply(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> Callable[[], object]:
    import torch

    return lambda: torch.mm(a, b, out=out)


def _has_tf32(device: torch.device) -> bool:
    import torch

    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8


def _copy_rate(device: torch.device, watch: Stopwatch) -> float:
    """Bytes read plus written per second while one buffer is copied onto another."""
    import torch

    size = COPY_BYTES[_kind(device)]
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        size = min(size, free // 4)
    source = torch.ones(size, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * size / median_ns(lambda: target.copy_(source), watch) * 1e9


def median_ns(work: Callable[[], object], watch: Stopwatch) -> float:
    """Median time of `work` over as many repeats as fit `BUDGET_NS`, after warm-ups."""
    first = [watch.time_ns(work) for _ in range(WARM_UPS)][-1]
    least, most = REPEATS
    repeats = min(most, max(least, int(BUDGET_NS / max(first, 1.0))))
    return statistics.median(watch.time_ns(work) for _ in range(repeats))
