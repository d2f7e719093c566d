"""Two run records and their accounts in, the change of each headline number with its verdict out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from layerscope.differences.device_noise import BETWEEN_RUNS, effect_of_device
from layerscope.differences.noise import (
    LEAST_SAMPLES,
    Effect,
    Floats,
    effect_of,
    effect_of_logs,
    effect_of_single,
    paired_logs,
)
from layerscope.differences.quality import wer_change
from layerscope.differences.verdict import count_verdict, reasons, relative_verdict
from layerscope.joules.repeats import Repeat
from layerscope.records.comparison import Metric, MetricChange
from layerscope.records.layer_table import LayerTable
from layerscope.records.program_energy import ProgramEnergy
from layerscope.records.run_record import LatencySample, RunRecord
from layerscope.stats.energy_summary import summarise_energy, window_energy
from layerscope.stats.program_energy import joules_by_part, summarise_program_energy
from layerscope.stats.statistics import LEAST_FOR_COVERAGE

_FLOOR_BASIS = "noise floor from four stretches of each run"


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """One side of a comparison: its record and the table of its traced batch, each where it exists.

    `table_absent` says why there is no table. `traced_ns` is the device time of each trace of the traced
    batch, empty where there is one trace alone; `energy` are the units whose joules were replayed.
    """

    name: str
    record: RunRecord | None = None
    table: LayerTable | None = None
    table_absent: str = ""
    traced_ns: tuple[int, ...] = ()
    energy: Mapping[str, Repeat] = field(default_factory=dict)


def headline_changes(
    base: RunRecord,
    other: RunRecord,
    base_table: LayerTable | None = None,
    other_table: LayerTable | None = None,
    base_traced_ns: Sequence[int] = (),
    other_traced_ns: Sequence[int] = (),
) -> tuple[MetricChange, ...]:
    """All seven metrics, in the order of `METRICS`; what is absent says why.

    Args:
        base_traced_ns, other_traced_ns: device time of each trace of the traced batch; empty where a
            run has one trace alone.
    """
    repeats = _logs(base, other, base.latency, other.latency)
    whole = "s/traced batch" if base.captured is other.captured is None else "s/traced window"
    return (
        _timed("latency", base, other, base.latency, other.latency),
        _timed("ttft", base, other, base.first_token, other.first_token),
        _energy(base, other),
        wer_change(base, other),
        _flops(base, other),
        _device(whole, (base_table, base_traced_ns), (other_table, other_traced_ns)),
        _traced("host", whole, base_table, other_table, repeats),
    )


def _absent(
    metric: Metric, unit: str, base: float | None, other: float | None, why: str
) -> MetricChange:
    return MetricChange(
        metric=metric,
        unit=unit,
        base=base,
        other=other,
        change=None if base is None or other is None else other - base,
        relative=other / base - 1 if base and other is not None else None,
        verdict="not judged",
        absent=why,
    )


def _judged(
    metric: Metric, unit: str, base: float, other: float, effect: Effect, basis: str
) -> MetricChange:
    return MetricChange(
        metric=metric,
        unit=unit,
        base=base,
        other=other,
        change=other - base,
        relative=effect.relative,
        interval=effect.interval,
        noise_floor=effect.noise_floor,
        shown=effect.shown,
        verdict=relative_verdict(
            metric, effect.relative, effect.interval, effect.noise_floor, shown=effect.shown
        ),
        basis=basis,
    )


def _usable(samples: Sequence[LatencySample]) -> list[LatencySample]:
    return [s for s in samples if s.full and not s.warmup and s.generate_ns > 0]


def _timed(
    metric: Metric,
    base: RunRecord,
    other: RunRecord,
    base_samples: Sequence[LatencySample],
    other_samples: Sequence[LatencySample],
) -> MetricChange:
    """Latency, or time to first token: medians of full batches, warm-ups left out."""
    sides = _usable(base_samples), _usable(other_samples)
    values = [median(s.generate_ns for s in side) / 1e9 if side else None for side in sides]
    counts = f"{len(sides[0])} and {len(sides[1])} samples"
    logs = _logs(base, other, base_samples, other_samples)
    if values[0] is None or values[1] is None or logs is None:
        why = _of_captures(metric, base, other)
        why = why or f"{counts}, an interval needs at least {LEAST_SAMPLES} a side"
        return _absent(metric, "s/batch", values[0], values[1], why)
    paired = ", batch by batch" if _same_batches(base, other, *sides) else ""
    return _judged(
        metric,
        "s/batch",
        values[0],
        values[1],
        effect_of_logs(*logs),
        f"ratio of medians{paired}, {counts}; {_FLOOR_BASIS}{_if_few(*sides)}",
    )


def _of_captures(metric: Metric, base: RunRecord, other: RunRecord) -> str:
    """Why captures have no such times; "" where neither side is one."""
    given = []
    for run in (base, other):
        timed = run.report.latency.reason if metric == "latency" else None
        first = dict(run.absent).get("time to first token")
        given.append((timed or first) if run.captured is not None else None)
    return reasons(given[0], given[1]) if any(given) else ""


def _if_few(*sides: Sequence[LatencySample]) -> str:
    """What short runs cannot show: false alarms where neighbours are alike, docs/compare.md."""
    if min(map(len, sides)) >= LEAST_FOR_COVERAGE:
        return ""
    return (
        f"; fewer than {LEAST_FOR_COVERAGE} samples a side do not show how alike neighbours are, so "
        "the interval's coverage is not known"
    )


def _logs(
    base: RunRecord,
    other: RunRecord,
    base_samples: Sequence[LatencySample],
    other_samples: Sequence[LatencySample],
) -> tuple[Floats, Floats] | None:
    """Logarithms of the usable samples, by batch where both ran the same; None when too few."""
    sides = _usable(base_samples), _usable(other_samples)
    if min(map(len, sides)) < LEAST_SAMPLES:
        return None
    if _same_batches(base, other, *sides):
        pairs = [[(s.batch, float(s.generate_ns)) for s in side] for side in sides]
        return paired_logs(pairs[0], pairs[1])
    found = [np.log([float(s.generate_ns) for s in side]) for side in sides]
    return found[0], found[1]


def _same_batches(
    base: RunRecord,
    other: RunRecord,
    base_samples: Sequence[LatencySample],
    other_samples: Sequence[LatencySample],
) -> bool:
    """Whether both timed the same batches of the same samples, and more than one of them."""
    numbers = {s.batch for s in base_samples}
    if numbers != {s.batch for s in other_samples} or len(numbers) < 2:
        return False
    held = [
        {b.index: b.sample_ids for b in run.batches if b.index in numbers} for run in (base, other)
    ]
    named = [run.workload.dataset if run.workload is not None else None for run in (base, other)]
    return named[0] == named[1] is not None and numbers == held[0].keys() and held[0] == held[1]


def _energy(base: RunRecord, other: RunRecord) -> MetricChange:
    """Joules per sample, the windows being the repeats; the counters' own error is in the floor."""
    if base.program_energy is not None and other.program_energy is not None:
        return _energy_of_calls(base.program_energy, other.program_energy)
    unit = "J/sample"
    summaries = [summarise_energy(r.energy) if r.energy else None for r in (base, other)]
    values = [summary.joules_per_sample if summary else None for summary in summaries]
    if values[0] is None or values[1] is None:
        given = [
            None if value is not None else (s and s.reason) or _no_energy(run)
            for run, s, value in zip((base, other), summaries, values, strict=True)
        ]
        return _absent("energy", unit, values[0], values[1], reasons(given[0], given[1]))
    joules = [_window_joules(run) for run in (base, other)]
    error = sum(s.counter_uncertainty or 0.0 for s in summaries if s)
    counts = f"{len(joules[0])} and {len(joules[1])} windows"
    effect = effect_of(joules[0], joules[1], least_floor=error)
    if effect is None:
        why = f"{counts}, an interval needs at least {LEAST_SAMPLES} a side"
        return _absent("energy", unit, values[0], values[1], why)
    basis = (
        f"ratio of the windows' medians, {counts}; {_FLOOR_BASIS}, "
        f"at least the counters' own uncertainty of {100 * error:.1f} %"
    )
    return _judged("energy", unit, values[0], values[1], effect, basis)


def _energy_of_calls(base: ProgramEnergy, other: ProgramEnergy) -> MetricChange:
    """Joules per call of two programs, what lies between two readings being the repeats."""
    unit = "J/call"
    found = [summarise_program_energy(side) for side in (base, other)]
    one, two = (side.joules_per_call for side in found)
    if one is None or two is None:
        return _absent("energy", unit, one, two, reasons(found[0].reason, found[1].reason))
    joules = joules_by_part(base), joules_by_part(other)
    error = sum(side.counter_error or 0.0 for side in found)
    counts = f"{len(joules[0])} and {len(joules[1])} readings apart"
    effect = effect_of(*joules, least_floor=error)
    if effect is None:
        why = f"{counts}, an interval needs at least {LEAST_SAMPLES} a side"
        return _absent("energy", unit, one, two, why)
    basis = (
        f"ratio of the medians between readings, {counts}; {_FLOOR_BASIS}, "
        f"at least the counters' own uncertainty of {100 * error:.1f} %"
    )
    return _judged("energy", unit, one, two, effect, basis)


def _no_energy(run: RunRecord) -> str:
    if run.captured is not None and run.report.energy.value is not None:
        return f"measured in {run.report.energy.unit}, which is another amount"
    unmeasured = run.report.energy.reason if run.captured is not None else None
    return unmeasured or "no energy was measured"


def _window_joules(run: RunRecord) -> list[float]:
    """Joules per sample of each window, in the order measured."""
    windows = [window_energy(window) for window in run.energy.windows] if run.energy else []
    return [window.work_j / window.samples for window in windows if window.samples]


def _flops(base: RunRecord, other: RunRecord) -> MetricChange:
    one, two = base.report.flops, other.report.flops
    if one.value is None or two.value is None:
        given = [
            None if side.value is not None else side.reason or "not counted" for side in (one, two)
        ]
        return _absent("flops", one.unit, one.value, two.value, reasons(given[0], given[1]))
    if one.unit != two.unit:
        why = f"BASE counts {one.unit}, OTHER {two.unit}"
        return _absent("flops", one.unit, one.value, two.value, why)
    return MetricChange(
        metric="flops",
        unit=one.unit,
        base=one.value,
        other=two.value,
        change=two.value - one.value,
        relative=two.value / one.value - 1 if one.value else None,
        shown=one.value != two.value,
        verdict=count_verdict("flops", one.value, two.value),
        basis="executed operators of one full batch, counted",
    )


def _device(
    unit: str,
    base: tuple[LayerTable | None, Sequence[int]],
    other: tuple[LayerTable | None, Sequence[int]],
) -> MetricChange:
    """Device time, judged by device time: the traces of each side, and equal runs of before."""
    values = _whole_s("device", base[0]), _whole_s("device", other[0])
    if values[0] is None or values[1] is None:
        return _no_trace("device", unit, values)
    sides = [
        list(base[1]) or [round(1e9 * values[0])],
        list(other[1]) or [round(1e9 * values[1])],
    ]
    effect = effect_of_device(*sides)
    if effect is None:
        return _absent("device", unit, values[0], values[1], "a side took no device time")
    basis = (
        f"ratio of medians, {len(sides[0])} and {len(sides[1])} traces of the batch; interval and noise "
        f"floor from these and from equal runs, which differ by {100 * BETWEEN_RUNS:.1f} % (one sigma)"
    )
    return _judged("device", unit, values[0], values[1], effect, basis)


def _no_trace(metric: Metric, unit: str, values: tuple[float | None, float | None]) -> MetricChange:
    lacking = [
        label for label, value in zip(("BASE", "OTHER"), values, strict=True) if value is None
    ]
    what = "device events" if metric == "device" else "layer ranges"
    why = f"no trace with {what} in {' and '.join(lacking)}"
    return _absent(metric, unit, values[0], values[1], why)


def _traced(
    metric: Metric,
    unit: str,
    base: LayerTable | None,
    other: LayerTable | None,
    repeats: tuple[Floats, Floats] | None,
) -> MetricChange:
    """A whole of the traced batch: one a side, so the latency samples lend their noise."""
    values = _whole_s(metric, base), _whole_s(metric, other)
    if values[0] is None or values[1] is None:
        return _no_trace(metric, unit, values)
    effect = effect_of_single(values[0], values[1], *repeats) if repeats else None
    if effect is None:
        one = unit.removeprefix("s/")
        why = f"one {one} a side, and fewer than {LEAST_SAMPLES} latency samples to judge by"
        return _absent(metric, unit, values[0], values[1], why)
    basis = (
        "one traced batch a side; interval and noise floor from how far single latency samples of "
        "each run lie from their median"
    )
    return _judged(metric, unit, values[0], values[1], effect, basis)


def _whole_s(metric: Metric, table: LayerTable | None) -> float | None:
    if table is None:
        return None
    whole = table.whole.device_sum_ns if metric == "device" else table.whole.host_window_ns
    return None if whole is None else whole / 1e9
