"""Energy windows of whole batches in; one batch's joules, its time, and idle power out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from layerscope.records.energy_record import EnergyRecord, EnergyWindow
from layerscope.records.run_record import LatencySample, TracePass
from layerscope.stats.energy_summary import window_energy
from layerscope.stats.student import t_975

NANO = 1_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class EndToEnd:
    """One batch measured whole, unprofiled.

    Attributes:
        whole_nj: its joules, in nanojoules.
        wall_s: its time in the same windows.
        idle_w: power at rest right after batches, clocks still up: what the device draws in gaps.
        idle_error_w: standard error of `idle_w`; 0 for one window.
        whole_error_j, wall_error_s: standard errors of a batch's joules and time, windows as the sampled
            units; 0 for one window.
    """

    whole_nj: int
    wall_s: float
    idle_w: float
    idle_error_w: float
    windows: int
    whole_error_j: float = 0.0
    wall_error_s: float = 0.0

    @property
    def above_idle_j(self) -> float:
        """Its joules without idle power over its time."""
        return self.whole_nj / NANO - self.idle_w * self.wall_s

    @property
    def reach(self) -> float:
        """Half a 95 % interval over the standard error, of each of its numbers."""
        return t_975(max(self.windows - 1, 1))


@dataclass(frozen=True, slots=True)
class MeasuredWhole:
    """What a run knows of its batches as wholes.

    Attributes:
        energy: windows of whole batches; None where energy was not measured.
        trace: which batch was traced.
        latency: raw samples of all batches, unprofiled.
    """

    energy: EnergyRecord | None
    trace: TracePass
    latency: Sequence[LatencySample]


def end_to_end_of(
    energy: EnergyRecord | None, trace: TracePass, latency: Sequence[LatencySample]
) -> EndToEnd | None:
    """The traced batch measured whole; None without a window.

    All windows count while all batches took as many decoder steps as the traced one; else only
    those of the traced batch, if it has one.
    """
    if energy is None or energy.reason is not None or not energy.windows:
        return None
    steps = {s.batch: s.decoder_steps for s in latency if s.full and not s.warmup}
    windows = list(energy.windows)
    if len(set(steps.values())) > 1:
        traced = None if trace.batch is None else steps.get(trace.batch)
        alike = {b for b, count in steps.items() if count == traced}
        windows = [w for w in windows if all(b.batch in alike for b in w.batches)] or windows
    found = [window_energy(window) for window in windows]
    batches = sum(len(window.batches) for window in windows)
    rests = [item.rest_w for item in found]
    return EndToEnd(
        whole_nj=round(sum(item.work_j for item in found) / batches * NANO),
        wall_s=sum(_busy_s(window) for window in windows) / batches,
        idle_w=sum(rests) / len(rests),
        idle_error_w=_error_of_mean(rests),
        windows=len(windows),
        whole_error_j=_error_of_mean(
            [item.work_j / len(w.batches) for item, w in zip(found, windows, strict=True)]
        ),
        wall_error_s=_error_of_mean([_busy_s(window) / len(window.batches) for window in windows]),
    )


def _busy_s(window: EnergyWindow) -> float:
    return sum(batch.end_ns - batch.start_ns for batch in window.batches) / 1e9


def _error_of_mean(values: Sequence[float]) -> float:
    n = len(values)
    if n < 2:
        return 0.0
    mean = sum(values) / n
    return sqrt(sum((value - mean) ** 2 for value in values) / (n - 1) / n)
