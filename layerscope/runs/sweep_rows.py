"""A cell and its finished run in, its `SweepRow` out; every number derived from raw samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from layerscope.core.collector_pause import collector_at_rest
from layerscope.core.errors import DataError
from layerscope.core.files import LAYERS_FILE
from layerscope.core.units import NS_PER_S
from layerscope.records import Interval, LatencySample, RunRecord
from layerscope.records.optimization import OptimizationRecord
from layerscope.records.sweep import Cell, CellFailure, Estimate, SweepRow
from layerscope.records.sweep_places import CellPlace
from layerscope.report.csv import read_layers_csv
from layerscope.runs.sweep_folder import Finished
from layerscope.runs.sweep_last_batch import last_batch_flops
from layerscope.stats.energy_summary import summarise_energy
from layerscope.stats.latency import full_batches, latency_summary
from layerscope.stats.statistics import LatencySummary, summarise
from layerscope.work.roofline import device_ns


def rows_of(
    cells: Sequence[Cell],
    finished: Mapping[str, Finished],
    failures: Mapping[str, CellFailure],
    places: Mapping[str, CellPlace],
    *,
    root: Path,
) -> tuple[SweepRow, ...]:
    """A row for each cell of a plan, in its order.

    Args:
        places: cell -> where it was measured, of a sweep on several machines.

    Raises:
        DataError: a file of a finished run is damaged.
    """
    rows = []
    with collector_at_rest():  # beside the records of all cells it would scan those, over and over
        for cell in cells:
            done = finished.get(cell.id)
            if done is None:
                rows.append(row_without_run(cell, failures.get(cell.id)))
            else:
                place = places.get(cell.id)
                rows.append(row_of(cell, done.record, done.folder, root=root, place=place))
    return tuple(rows)


def row_of(
    cell: Cell, record: RunRecord, folder: Path, *, root: Path, place: CellPlace | None = None
) -> SweepRow:
    """The row of a finished cell.

    Args:
        root: the sweep's folder; the row names the run's folder relative to it.
        place: where in a cluster it was measured; left out if it is of another run folder.

    Raises:
        DataError: `layers.csv` or `work.json` of the run is damaged.
    """
    account = record.account
    broken = account is not None and account.status == "failed"
    latency = latency_summary(record)
    if latency is None:
        raise DataError(
            f"{folder}: no full batch was timed, so it has no row; remove it and run the sweep again."
        )
    config, batch = record.profiled, record.batches[0]
    energy = _energies(record)
    return SweepRow(
        cell=cell.id,
        settings=cell.settings,
        config=config,
        status="accounting failed" if broken else "done",
        reason="; ".join(account.failures[:3]) if account is not None and broken else None,
        folder=str(folder.relative_to(root)),
        device_name=record.environment.gpu_name or record.environment.cpu_model,
        trained=record.model.trained,
        parameters=record.model.params,
        # Of patches packed beside a grid the last number is no side of an image.
        pixels=batch.pixel_values_shape[-1] if len(batch.pixel_values_shape) > 3 else None,
        image_tokens=max(batch.image_tokens, default=None),
        text_length=batch.padded_text_length,
        decoder_steps=float(median(s.decoder_steps for s in full_batches(record))),
        latency_runs=latency.count,
        latency_unstable=" ".join(latency.unstable) or None,
        wer=_wer(record),
        latency_s=_latency(latency),
        first_token_s=_first_token(record.first_token),
        energy_j=energy[0],
        energy_reference_j=energy[1],
        energy_source="; ".join(record.energy.sources) or None if record.energy else None,
        flops=None if record.report.flops.value is None else int(record.report.flops.value),
        flops_reference=last_batch_flops(record),
        device_sum_us=account.device_sum_us if account else None,
        memory_peak_bytes=record.memory.peak_bytes if record.memory else None,
        kv_cache_bytes=record.memory.kv_cache_bytes if record.memory else None,
        tokens_equal=_tokens_equal(record.optimization),
        compile_s=_compile_s(record.optimization),
        fell_back="; ".join(record.optimization.fell_back) or None if record.optimization else None,
        warnings=record.warnings,
        environment=record.environment,
        place=place if place is not None and place.folder == folder.name else None,
        group_ns=group_times(folder / LAYERS_FILE) if "layers" in record.files else {},
    )


def row_without_run(cell: Cell, failure: CellFailure | None) -> SweepRow:
    """The row of a cell that has no run: only its choices and the reason."""
    reason = failure.reason if failure is not None else "not run yet"
    return SweepRow(
        cell=cell.id,
        settings=cell.settings,
        config=cell.config,
        status="not run" if failure is None or reason.startswith("not run") else "failed",
        reason=reason,
    )


def group_times(layers: Path) -> dict[str, int]:
    """Group -> self time in nanoseconds: on the device, on a CPU run inside operators."""
    found: Counter[str] = Counter()
    for row in read_layers_csv(layers):
        if not row.is_bucket:
            found[row.group] += device_ns(row) or 0
    return dict(found)


def _tokens_equal(mode: OptimizationRecord | None) -> float | None:
    if mode is None or mode.tokens is None or not mode.tokens.samples:
        return None
    return mode.tokens.equal / mode.tokens.samples


def _compile_s(mode: OptimizationRecord | None) -> float | None:
    return None if mode is None else sum(part.compile_s for part in mode.parts)


def _wer(record: RunRecord) -> Estimate:
    quality = record.quality
    if quality is None or quality.wer_value is None:
        return Estimate(reason=record.report.wer_value.reason)
    return Estimate(value=quality.wer_value, interval=quality.wer_interval)


def _latency(summary: LatencySummary) -> Estimate:
    return Estimate(value=summary.median_ns / NS_PER_S, interval=_in_seconds(summary.interval))


def _first_token(samples: tuple[LatencySample, ...]) -> Estimate:
    if not samples:
        return Estimate(reason="no first token was timed")
    summary = summarise([sample.generate_ns for sample in samples])
    return _latency(summary)


def _energies(record: RunRecord) -> tuple[Estimate, Estimate]:
    """Joules per sample: of all windows together, and as the mean over batches."""
    if record.energy is None:
        nothing = Estimate(reason="energy was not measured")
        return nothing, nothing
    summary = summarise_energy(record.energy, seed=record.seed)
    if summary.joules_per_sample is None:
        nothing = Estimate(reason=summary.reason)
        return nothing, nothing
    return (
        Estimate(value=summary.joules_per_sample, interval=summary.interval),
        Estimate(value=summary.mean_over_batches_j, interval=summary.mean_over_batches_interval),
    )


def _in_seconds(interval: Interval | None) -> Interval | None:
    if interval is None:
        return None
    return Interval(
        low=interval.low / NS_PER_S,
        high=interval.high / NS_PER_S,
        method=interval.method,
        confidence=interval.confidence,
        reason=interval.reason,
    )
