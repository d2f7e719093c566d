"""Whether a device has other work to do: looked at for a moment, before its rates are measured."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerscope.measure.energy.nvml import LIBRARY, close, load_library
from layerscope.records.energy_record import EnergyAbsent

STAT = Path("/proc/stat")
LOOK_S = 0.2
WAIT_S = 3.0  # at most, for the others to finish
BUSY_CORES = 0.1  # of each core, beside one tenth of a core for the system's own
BUSY_GPU = 0.05
# Fields of a line of /proc/stat: user nice system idle iowait irq softirq steal; guests are in user.
_IDLE = (3, 4)
_FIELDS = 8


@dataclass(frozen=True, slots=True)
class Load:
    """What else ran. `quiet` is None where it could not be told."""

    quiet: bool | None
    text: str


def wait_for_quiet(look: Callable[[], Load], sleep: Callable[[float], None] = time.sleep) -> Load:
    """Look until nothing else runs, for `WAIT_S` at most; the last look comes back."""
    seen, waited = look(), 0.0
    while seen.quiet is False and waited < WAIT_S:
        sleep(0.5)
        waited += 0.5
        seen = look()
    if seen.quiet is False and waited:
        return Load(False, f"{seen.text}, also after {waited:g} s of waiting")
    return seen


def cpu_load(stat: Path = STAT, sleep: Callable[[float], None] = time.sleep) -> Load:
    """What other processes do on the cores that this one may use, while this one sleeps."""
    cores = _cores()
    before, own_before, then = _busy_ticks(stat, cores), time.process_time(), time.monotonic()
    sleep(LOOK_S)
    after, own_after, now = _busy_ticks(stat, cores), time.process_time(), time.monotonic()
    if before is None or after is None or now <= then:
        return Load(None, f"other work not known: {stat} cannot be read here")
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    others = max(0.0, (after - before) / ticks_per_s - (own_after - own_before)) / (now - then)
    quiet = others <= BUSY_CORES * len(cores) + 0.1
    word = "quiet" if quiet else "busy"
    return Load(quiet, f"{word}: other work takes {others:.1f} of {len(cores)} cores")


class CpuOthers:
    """Other processes' work on all cores since this was made: what RAPL counts beside this process."""

    def __init__(self, stat: Path = STAT) -> None:
        self._stat, self._cores = stat, frozenset(range(os.cpu_count() or 1))
        self._ticks = _busy_ticks(stat, self._cores)
        self._own_s, self._then = time.process_time(), time.monotonic()

    def __call__(self) -> str | None:
        """What they took, in words; "" for next to nothing, None where it cannot be told."""
        ticks, own_s, now = (
            _busy_ticks(self._stat, self._cores),
            time.process_time() - self._own_s,
            time.monotonic(),
        )
        if ticks is None or self._ticks is None:
            return None
        busy_s = (ticks - self._ticks) / os.sysconf("SC_CLK_TCK")
        others = max(0.0, busy_s - own_s) / max(now - self._then, 1e-9)
        if others <= BUSY_CORES * len(self._cores):
            return ""
        cores = len(self._cores)
        return f"other processes took {others:.1f} of {cores} cores; the counter has theirs, too"


def gpu_load(uuid: str, library_name: str = LIBRARY) -> Load:
    """What NVML says the GPU does while this process has nothing queued on it.

    Args:
        uuid: as NVML or torch writes it.
    """
    library = load_library(library_name)
    if isinstance(library, EnergyAbsent):
        return Load(None, f"other work on the GPU not known: {library.reason}")
    try:
        whole = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
        handle = library.nvmlDeviceGetHandleByUUID(whole)
        share = float(library.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
    except (library.NVMLError, AttributeError) as error:
        return Load(None, f"other work on the GPU not known: {error}")
    finally:
        close(library)
    quiet = share <= BUSY_GPU
    return Load(quiet, f"{'quiet' if quiet else 'busy'}: the GPU is in use {share:.0%} of the time")


def load_of(device: Any) -> Callable[[], Load]:
    """How to look at this torch device; work of this process on it is waited for first."""
    if device.type != "cuda":
        return cpu_load

    def look() -> Load:
        import torch

        torch.cuda.synchronize(device)
        return gpu_load(str(torch.cuda.get_device_properties(device).uuid))

    return look


def _cores() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _busy_ticks(stat: Path, cores: frozenset[int]) -> int | None:
    """Clock ticks that these cores were busy since the system started."""
    try:
        lines = stat.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    total, seen = 0, 0
    for line in lines:
        name, *rest = line.split()
        if not name.startswith("cpu") or not name[3:].isdigit() or int(name[3:]) not in cores:
            continue
        ticks = [int(value) for value in rest[:_FIELDS] if value.isdigit()]
        total += sum(value for place, value in enumerate(ticks) if place not in _IDLE)
        seen += 1
    return total if seen and total else None
