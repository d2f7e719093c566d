"""The rates a device really reaches: a device in, `Ceilings` out; measured once and then kept.

A ceiling is a maximum: the best of many short measurements in several rounds, whose scatter is stored,
after a look at what else runs. What is kept is doubted before it is used: by its own numbers, and by a
glance at what the device does now.
"""

from __future__ import annotations

import hashlib
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from layerscope.core.errors import EnvironmentProblem
from layerscope.measure.ceilings_bench import RATES, Bench, NoRoom, NotMeasured, Reading
from layerscope.measure.ceilings_cache import Kept, load_kept, store, with_datasheet
from layerscope.measure.last_cache import last_cache_bytes
from layerscope.measure.machine_load import Load, load_of, wait_for_quiet
from layerscope.records.plausible_ceilings import rate_text
from layerscope.records.work import CEILINGS_FORM, COPY, Ceilings

if TYPE_CHECKING:
    import torch

LEAST_ROUNDS, MOST_ROUNDS = 4, 20
AGREES = 0.03  # the second-best round within this of the best: more rounds would find little
TOGETHER = 5  # moments at which all workers ran undisturbed; fewer may be chance
LIMIT_S = 9.0
# A glance that beats what is kept by more than this shows that it was no maximum.
BEATEN_AT_A_GLANCE = 1.15


@dataclass(slots=True)
class _Rounds:
    """One rate's rounds so far."""

    best_per_s: list[float] = field(default_factory=list)
    shape: str = ""
    count: int = 0
    apart_per_s: float = 0.0
    together: int | None = None

    def add(self, reading: Reading) -> None:
        if reading.per_s > max(self.best_per_s, default=0.0):
            self.shape = reading.shape
        self.best_per_s.append(reading.per_s)
        self.count += reading.count
        self.apart_per_s = max(self.apart_per_s, reading.apart_per_s)
        if reading.together is not None:
            self.together = (self.together or 0) + reading.together

    def never_together(self) -> bool:
        return self.together is not None and self.together < TOGETHER

    def add_up(self) -> None:
        """Let the workers' own best moments stand for one that other work never gave them."""
        if self.never_together() and self.apart_per_s > max(self.best_per_s):
            self.best_per_s.append(self.apart_per_s)
            self.shape += ", threads added up"

    @property
    def settled(self) -> bool:
        if len(self.best_per_s) < LEAST_ROUNDS:
            return False
        second, best = sorted(self.best_per_s)[-2:]
        return second >= (1 - AGREES) * best and not self.never_together()

    @property
    def scatter(self) -> float:
        return 1 - statistics.median(self.best_per_s) / max(self.best_per_s)


@dataclass(frozen=True, slots=True)
class Board:
    """What decides how fast a GPU of one model runs, and so under which key its ceilings are kept."""

    driver: str | None = None
    power_limit_w: float | None = None


def ceilings_for(
    device: torch.device,
    board: Board = Board(),
    *,
    cache: Path | None = None,
    remeasure: bool = False,
    bench: Bench | None = None,
    look: Callable[[], Load] | None = None,
) -> Ceilings:
    """The ceilings of a device: kept ones where nothing speaks against them, else measured now.

    Args:
        device: a CUDA device or the CPU.
        board: what is known of it; nothing on a CPU.
        cache: file to keep results in; `cache_file()` when left out.
        remeasure: do not use what is kept.
        bench: measures the rates; the device's own when left out.
        look: at what else runs; `load_of(device)` when left out.

    Raises:
        EnvironmentProblem: not even the copy could be measured.
    """
    path = cache or cache_file()
    key = ceilings_key(device, board.driver, board.power_limit_w)
    bench = bench or bench_for(device)
    kept = Kept() if remeasure else judged(load_kept(path, key, device_name(device)), bench)
    if kept.ceilings is not None and not kept.doubt:
        return replace(kept.ceilings, kept=True)
    measured = measure_ceilings(device, key=key, bench=bench, look=look)
    if kept.doubt:
        note = f"what was kept is replaced: {kept.doubt}"
        measured = replace(measured, notes=(*measured.notes, note))
    if kept.ceilings is not None and measured.quiet is False and _only_busy(kept):
        measured = best_of(measured, kept.ceilings)
    return store(path, measured)


def kept_ceilings(device: torch.device, board: Board, cache: Path | None = None) -> Kept:
    """What is kept of a device, without a glance at it: for a program that is not to be held up."""
    key = ceilings_key(device, board.driver, board.power_limit_w)
    return load_kept(cache or cache_file(), key, device_name(device))


def judged(kept: Kept, bench: Bench) -> Kept:
    """What is kept, held against a glance at the device."""
    if kept.ceilings is None or kept.doubt:
        return kept
    return Kept(kept.ceilings, glance_doubt(kept.ceilings, bench))


def glance_doubt(ceilings: Ceilings, bench: Bench) -> str:
    """Why a moment's measurement speaks against these; "" where it does not."""
    for name, rate in ceilings.rates().items():
        try:
            reached, out_of_reach = bench.glance(name)
        except NoRoom:
            continue  # says nothing against what is kept
        except NotMeasured as reason:
            return f"{name}: {rate_text(name, rate)} kept, and not measurable now ({reason})"
        if reached > BEATEN_AT_A_GLANCE * rate:
            return f"{name}: {rate_text(name, rate)} kept, {rate_text(name, reached)} at a glance"
        if rate > out_of_reach:
            far = f"far above the {rate_text(name, reached)} at a glance"
            return f"{name}: {rate_text(name, rate)} kept, {far}"
    return ""


def measure_ceilings(
    device: torch.device,
    *,
    key: str,
    bench: Bench | None = None,
    look: Callable[[], Load] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Ceilings:
    """Measure now; takes some seconds, more where other work disturbs it.

    Args:
        key: what the result is filed under.
        clock: seconds, for the limit of `LIMIT_S`.

    Raises:
        EnvironmentProblem: not even the copy could be measured.
    """
    bench = bench or bench_for(device)
    load = wait_for_quiet(look or load_of(device))
    rounds, absent = _all_rounds(bench, clock)
    if COPY not in rounds:
        raise EnvironmentProblem(f"ceilings: the copy cannot be measured: {absent[COPY]}.")
    if load.quiet is False:
        for one in rounds.values():
            one.add_up()
    best = {name: max(one.best_per_s) for name, one in rounds.items()}
    measured = Ceilings(
        key=key,
        device=device_name(device),
        measured_utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        matmul_flops_per_s={name: rate for name, rate in best.items() if name != COPY},
        matmul_shape={name: one.shape for name, one in rounds.items() if name != COPY},
        copy_bytes_per_s=best[COPY],
        method=f"{bench.method}; {max(len(r.best_per_s) for r in rounds.values())} rounds",
        absent=absent,
        form=CEILINGS_FORM,
        scatter={name: one.scatter for name, one in rounds.items()},
        measurements={name: one.count for name, one in rounds.items()},
        quiet=load.quiet,
        load=load.text,
        busy_tries=1 if load.quiet is False else 0,
        cache_bytes=last_cache_bytes(device),
    )
    return with_datasheet(measured)


def _all_rounds(
    bench: Bench, clock: Callable[[], float]
) -> tuple[dict[str, _Rounds], dict[str, str]]:
    """Rounds over all rates in turn, so that each rate's are spread over the whole time."""
    rounds = {name: _Rounds() for name in RATES}
    absent: dict[str, str] = {}
    end = clock() + LIMIT_S
    for turn in range(MOST_ROUNDS):
        open_ones = [n for n, one in rounds.items() if n not in absent and not one.settled]
        if not open_ones or (turn and clock() >= end):
            break
        for name in open_ones:
            try:
                reading = bench.round(name)
            except NotMeasured as reason:
                if not rounds[name].best_per_s:
                    absent[name] = str(reason)
                continue
            rounds[name].add(reading)
    return {name: one for name, one in rounds.items() if name not in absent}, absent


def best_of(new: Ceilings, old: Ceilings) -> Ceilings:
    """The larger of each rate, of two measurements on a busy machine: maxima of what was left."""
    larger = {
        name: rate for name, rate in old.rates().items() if rate > new.rates().get(name, rate)
    }
    shapes = {n: old.matmul_shape[n] for n in larger if n in old.matmul_shape}
    return replace(
        new.with_rates(larger),
        matmul_shape={**new.matmul_shape, **shapes},
        busy_tries=new.busy_tries + old.busy_tries,
    )


def _only_busy(kept: Kept) -> bool:
    """Whether the doubt is about the machine's load alone, not about the numbers."""
    return kept.ceilings is not None and kept.doubt.endswith(kept.ceilings.load)


def keep_raised(raised: Ceilings, measured: Mapping[str, float], cache: Path | None = None) -> None:
    """File ceilings that a run's layers beat, for the next run.

    What was beaten by more than `BEATEN_AT_A_GLANCE` was not measured well: it is filed as it was
    `measured`, in doubt, and the next run measures again.
    """
    far = [r for r in raised.raised if r.after_per_s > BEATEN_AT_A_GLANCE * measured[r.rate]]
    if far:
        why = "; ".join(f"{r.rate} was beaten by {r.by}" for r in far)
        raised = replace(
            raised.with_rates(measured), quiet=False, busy_tries=0, load=why, raised=()
        )
    store(cache or cache_file(), raised)


def bench_for(device: torch.device) -> Bench:
    """What measures this device."""
    from layerscope.measure.ceilings_cpu import CpuBench
    from layerscope.measure.ceilings_gpu import CudaBench

    return CudaBench(device) if device.type == "cuda" else CpuBench()


def ceilings_key(device: torch.device, driver: str | None, power_limit_w: float | None) -> str:
    """Device, board, power limit, driver and torch; on a CPU its cores and torch's threads."""
    import torch

    if device.type == "cuda":
        uuid = str(torch.cuda.get_device_properties(device).uuid).removeprefix("GPU-")
        # Which of several equal boards, without naming it to whom a run is sent.
        board = hashlib.sha256(uuid.encode()).hexdigest()[:10]
        limit = f"{power_limit_w:.0f} W" if power_limit_w else "power limit unknown"
        return (
            f"{device_name(device)} | board {board} | {limit} | driver {driver or 'unknown'} "
            f"| torch {torch.__version__}"
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = torch.get_num_threads()
    return f"{device_name(device)} | {cores} cores | {threads} threads | torch {torch.__version__}"


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
