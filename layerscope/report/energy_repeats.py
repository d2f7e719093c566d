"""Tables of energy by layer of equal runs in, each unit in all of them out."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from math import hypot
from pathlib import Path

from layerscope.core.errors import DataError
from layerscope.core.folder_file import table_text
from layerscope.joules.repeats import Repeat, Repeated

_US = 1e-6


def read_repeats(paths: Sequence[Path], idle_half_w: float = 0.0) -> tuple[Repeated, ...]:
    """Read several `layer_energy.csv`; the units that every run replayed, in the first one's order.

    Args:
        idle_half_w: half the 95 % interval of idle power, for tables of 0.1.0, which left it out of
            their bars; newer ones have it in `above_idle_half_j`.

    Raises:
        DataError: a file cannot be read, or is no such table.
    """
    runs = [read_units(path, idle_half_w) for path in paths]
    names = [name for name in runs[0] if all(name in run for run in runs)] if runs else []
    return tuple(Repeated(name=name, runs=tuple(run[name] for run in runs)) for name in names)


def read_units(path: Path, idle_half_w: float = 0.0) -> dict[str, Repeat]:
    """The replayed units of one `layer_energy.csv`, by name; see `read_repeats`."""
    try:
        with table_text(path) as file:
            rows = list(csv.DictReader(file, strict=True))
        whole_j = sum(float(row["energy_j"]) for row in rows if row["energy_j"])
        return {
            row["unit"]: _repeat(row, whole_j, idle_half_w)
            for row in rows
            if row["dynamic_j_per_call"] and row["dynamic_half_j_per_call"]
        }
    except OSError as error:
        raise DataError(f"{path}: cannot read energy by layer ({error.strerror}).") from None
    except (UnicodeDecodeError, csv.Error, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a table of energy by layer ({error}).") from None


def _repeat(row: Mapping[str, str], whole_j: float, idle_half_w: float) -> Repeat:
    calls, busy_s = int(row["calls"]), float(row["replay_us_per_call"]) * _US
    dynamic_j = float(row["dynamic_j_per_call"])
    if row.get("above_idle_j"):
        above_j, half_j = float(row["above_idle_j"]), float(row["above_idle_half_j"])
    else:
        scatter_j = float(row["dynamic_half_j_per_call"])
        above_j, half_j = dynamic_j * calls, hypot(scatter_j, idle_half_w * busy_s) * calls
    return Repeat(
        above_j=above_j,
        above_half_j=half_j,
        wall_s=float(row["wall_us"]) * _US,
        idle_w=float(row["replay_w"]) - dynamic_j / busy_s,
        energy_share=float(row["energy_j"]) / whole_j,
        device_share=float(row["device_share"]),
    )
