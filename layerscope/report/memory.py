"""Counted work in, `memory.csv` out: what each layer itself allocates, keeps and frees, by phase."""

from __future__ import annotations

from pathlib import Path

from layerscope.core.files import MEMORY_FILE
from layerscope.records.work import CountedWork
from layerscope.report.csv_lines import cell_text, write_csv

_COLUMNS = (
    "layer",
    "phase",
    "calls",
    "peak_bytes",
    "allocated_bytes",
    "retained_bytes",
    "largest_bytes",
    "freed_bytes",
)
_FIELDS = {"peak_bytes": "memory_peak_bytes"}


def write_memory_csv(work: CountedWork, folder: Path) -> dict[str, str]:
    """Write one line a layer and phase, those that allocate most first; returns role -> file name.

    `allocated_bytes` and `freed_bytes` add up over layers; peaks don't, and there is no line for a sum.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    rows = sorted(work.rows, key=lambda row: -(row.allocated_bytes or 0))
    lines = (
        [cell_text(getattr(row, _FIELDS.get(name, name))) for name in _COLUMNS] for row in rows
    )
    write_csv(folder / MEMORY_FILE, _COLUMNS, lines)
    return {"memory": MEMORY_FILE}
