"""Cells to run and runs already finished in, how long the sweep will take out, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from layerscope.config.plan import load_key
from layerscope.measure.energy.window import MIN_WINDOW_S
from layerscope.records.sweep import Cell
from layerscope.runs.sweep_folder import Finished


def batches_of(cell: Cell) -> int:
    """Batches that run at least once: warm-up, every batch of the data, trace and count."""
    config = cell.config
    return config.warmup + -(-config.samples // config.batch_size) + 1 + int(config.trace)


def windows_s(cell: Cell) -> float:
    """Seconds that the timed windows of a cell take: repeats at their limit, and energy.

    The energy windows are left out on a CPU, where most machines have no counter.
    """
    from layerscope.passes.energy import MIN_WINDOWS
    from layerscope.passes.latency import KEPT_BATCHES

    config = cell.config
    full = config.samples // config.batch_size
    energy = max(MIN_WINDOWS, min(KEPT_BATCHES, full)) * MIN_WINDOW_S
    if config.energy_per_layer is not None:
        energy += config.energy_limit_s
    return config.measure_limit_s + (energy if config.device == "cuda" else 0.0)


def estimate_text(missing: Sequence[Cell], finished: Mapping[str, tuple[Cell, Finished]]) -> str:
    """One line: from this sweep's own finished cells where there are any, else what is known."""
    if not missing:
        return "nothing to run"
    taken: dict[object, list[float]] = {}
    for cell, done in finished.values():
        if done.seconds is not None:
            taken.setdefault(load_key(cell.config), []).append(done.seconds)
    every = [seconds for group in taken.values() for seconds in group]
    if every:
        total = sum(median(taken.get(load_key(cell.config), every)) for cell in missing)
        return f"estimate: about {_time(total)}, from the {len(every)} cells already finished"
    windows = sum(windows_s(cell) for cell in missing)
    batches = sum(batches_of(cell) for cell in missing)
    loads = len({load_key(cell.config) for cell in missing})
    return (
        f"estimate: about {_time(windows)} of timed windows, and the time of {batches:,} batches "
        f"and {loads} model loads, which the first cell will tell"
    )


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
