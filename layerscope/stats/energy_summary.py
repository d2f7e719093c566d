"""Joules from raw windows: an `EnergyRecord` goes in, an `EnergySummary` comes out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from layerscope.records.energy_record import (
    CounterEdge,
    CounterWindow,
    EnergyBatch,
    EnergyRecord,
    EnergyWindow,
)
from layerscope.records.interval import Interval
from layerscope.stats.statistics import mean_interval, ratio_interval


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowEnergy:
    """What the batches of one window cost.

    Attributes:
        work_j: counter difference minus the rest in the window, summed over the counters.
        uncertainty_j: how far `work_j` may be off because of the counter (see `window_energy`).
        busy_s: summed duration of the batches.
        rest_w: power at rest right after the work, summed over the counters.
    """

    work_j: float
    uncertainty_j: float
    busy_s: float
    rest_w: float
    samples: int
    new_tokens: int

    @property
    def mean_w(self) -> float:
        """Mean power while batches ran."""
        return self.work_j / self.busy_s


@dataclass(frozen=True, kw_only=True)
class EnergySummary:
    """The energy of a run. `None` with `reason` set: not measured.

    Attributes:
        joules_per_sample: sum of the windows' energy over the sum of their samples.
        interval: of `joules_per_sample`, windows as the sampled units; None for a single window.
        counter_uncertainty: share of `joules_per_sample` the counter's steps may account for.
        mean_over_batches_j: mean over batches of energy / batch size, the reference's form.
        mean_over_batches_interval: of that, over the distinct batches.
        share_above_idle: part of the energy that the idle power over the same time does not
            explain; None without an idle window.
    """

    windows: int = 0
    joules_per_sample: float | None = None
    interval: Interval | None = None
    counter_uncertainty: float | None = None
    joules_per_token: float | None = None
    joules_per_batch: float | None = None
    mean_over_batches_j: float | None = None
    mean_over_batches_interval: Interval | None = None
    mean_w: float | None = None
    idle_w: float | None = None
    share_above_idle: float | None = None
    reason: str | None = None


def summarise_energy(record: EnergyRecord, *, seed: int = 0) -> EnergySummary:
    """Derive every quoted energy number from the raw windows."""
    if record.reason is not None:
        return EnergySummary(reason=record.reason)
    if not record.windows:
        return EnergySummary(reason="no energy window was measured")
    windows = [window_energy(window) for window in record.windows]
    total = sum(window.work_j for window in windows)
    samples = sum(window.samples for window in windows)
    tokens = sum(window.new_tokens for window in windows)
    busy_s = sum(window.busy_s for window in windows)
    idle_w = mean_power_w(record.idle) if record.idle else None
    by_batch = batch_joules_per_sample(record)
    return EnergySummary(
        windows=len(windows),
        joules_per_sample=total / samples if samples else None,
        interval=ratio_interval(
            [window.work_j for window in windows], [w.samples for w in windows], seed=seed
        ),
        counter_uncertainty=sum(w.uncertainty_j for w in windows) / total if total > 0 else None,
        joules_per_token=total / tokens if tokens else None,
        joules_per_batch=total / sum(len(window.batches) for window in record.windows),
        mean_over_batches_j=sum(by_batch.values()) / len(by_batch) if by_batch else None,
        mean_over_batches_interval=mean_interval(list(by_batch.values()), seed=seed),
        mean_w=total / busy_s,
        idle_w=idle_w,
        share_above_idle=_share_above_idle(total, idle_w, busy_s),
    )


def window_energy(window: EnergyWindow) -> WindowEnergy:
    """Energy of the batches in a window with work.

    Per counter: (end - start) - rest power x (span - busy), the rest power being that of the step
    from `end` to `after`. The uncertainty adds up, per counter: the rest time times the difference
    between the two powers seen at rest (landed..end and end..after); the time by which the edges
    may have been seen late, times the rest power, since the device rests at all of them; and those
    same lags as an error of the rest power itself.
    """
    busy_s = sum(batch.end_ns - batch.start_ns for batch in window.batches) / 1e9
    work_j = uncertainty_j = rest_w = 0.0
    for counter in window.counters:
        span_s = _seconds(counter.start, counter.end)
        power_w, error_w, timing_s = _rest(counter)
        rest_s = max(span_s - busy_s, 0.0)
        work_j += counter.end.joules - counter.start.joules - power_w * rest_s
        uncertainty_j += rest_s * error_w + timing_s * power_w
        rest_w += power_w
    return WindowEnergy(
        work_j=work_j,
        uncertainty_j=uncertainty_j,
        busy_s=busy_s,
        rest_w=rest_w,
        samples=sum(batch.samples for batch in window.batches),
        new_tokens=sum(batch.new_tokens for batch in window.batches),
    )


def _rest(counter: CounterWindow) -> tuple[float, float, float]:
    """Rest power, how far it may be off (both W), and the lateness of the window's edges (s)."""
    if counter.landed is None or counter.after is None:
        raise ValueError(f"{counter.counter}: an idle window holds no work")
    power_w = _power_w(counter.end, counter.after)
    step_s = _seconds(counter.end, counter.after)
    late_s = (max(counter.end.late_ns, counter.after.late_ns)) / 1e9
    spread_w = abs(_power_w(counter.landed, counter.end) - power_w)
    timing_s = max(counter.start.late_ns, counter.end.late_ns) / 1e9
    return power_w, spread_w + power_w * late_s / step_s, timing_s


def mean_power_w(window: EnergyWindow) -> float:
    """Mean power from edge to edge, summed over the counters."""
    return sum(_power_w(counter.start, counter.end) for counter in window.counters)


def batch_joules_per_sample(record: EnergyRecord) -> dict[int, float]:
    """Joules per sample of each distinct batch, by batch index.

    Repeats of a batch are averaged. In a window that mixes batches its energy is dealt out by
    duration, since a batch is shorter than what the counter resolves.
    """
    joules: dict[int, float] = defaultdict(float)
    samples: dict[int, int] = defaultdict(int)
    for window in record.windows:
        energy = window_energy(window)
        for batch in window.batches:
            joules[batch.batch] += energy.mean_w * _duration_s(batch)
            samples[batch.batch] += batch.samples
    return {index: joules[index] / samples[index] for index in joules if samples[index]}


def _share_above_idle(total_j: float, idle_w: float | None, busy_s: float) -> float | None:
    if idle_w is None or total_j <= 0:
        return None
    return max(0.0, 1 - idle_w * busy_s / total_j)


def _duration_s(batch: EnergyBatch) -> float:
    return (batch.end_ns - batch.start_ns) / 1e9


def _seconds(first: CounterEdge, second: CounterEdge) -> float:
    return (second.time_ns - first.time_ns) / 1e9


def _power_w(first: CounterEdge, second: CounterEdge) -> float:
    return (second.joules - first.joules) / _seconds(first, second)
