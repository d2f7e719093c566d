"""Rows of a sweep in, `sweep_groups.csv` out: each cell's own times and work by phase and group.

It is small where `sweep_layers.csv` is not, and its parts sum to the same whole: buckets stand under
their own names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from layerscope.core.files import LAYERS_FILE
from layerscope.core.folder_file import is_there
from layerscope.core.microseconds import us_text
from layerscope.records import LayerRow
from layerscope.records.layer_table import flops_of
from layerscope.records.sweep import SweepRow
from layerscope.report.csv import read_layers_csv
from layerscope.report.csv_lines import write_csv
from layerscope.report.sums import total_of

COLUMNS = (
    "cell",
    "phase",
    "group",
    "kernels",
    "gpu_self_us",
    "cpu_self_us",
    "op_self_us",
    "flops_self",
    "bytes_self",
    "energy_j",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupOfCell:
    """One phase and group of one cell: sums of its rows' self values. None: no row measured it."""

    cell: str
    phase: str
    group: str
    kernels: int
    gpu_self_ns: int | None
    cpu_self_ns: int | None
    op_self_ns: int | None
    flops_self: int | None
    bytes_self: int | None
    energy_j: float | None


def groups_of_cell(cell: str, rows: Iterable[LayerRow]) -> tuple[GroupOfCell, ...]:
    """A cell's rows by phase and group, in the order they first stand in the table."""
    kept: dict[tuple[str, str], list[LayerRow]] = {}
    for row in rows:
        group = row.layer if row.is_bucket else row.group
        kept.setdefault((row.phase, group), []).append(row)
    return tuple(_part(cell, phase, group, held) for (phase, group), held in kept.items())


def write_sweep_groups_csv(rows: Iterable[SweepRow], root: Path, path: Path) -> None:
    """One line per cell, phase and group. Cells without a layer table have none.

    Args:
        root: the sweep's folder, which the rows' folders are relative to.

    Raises:
        DataError: a cell's table cannot be read.
        EnvironmentProblem: the file cannot be written.
    """
    write_csv(path, list(COLUMNS), _lines(rows, root))


def _lines(rows: Iterable[SweepRow], root: Path) -> Iterator[list[str]]:
    for row in rows:
        if row.folder is None:
            continue
        table = root / row.folder / LAYERS_FILE
        if is_there(table):
            for part in groups_of_cell(row.cell, read_layers_csv(table)):
                yield _line(part)


def _part(cell: str, phase: str, group: str, rows: list[LayerRow]) -> GroupOfCell:
    joules = [row.energy_j for row in rows if row.energy_j is not None]
    return GroupOfCell(
        cell=cell,
        phase=phase,
        group=group,
        kernels=sum(row.kernels for row in rows),
        gpu_self_ns=total_of(row.gpu_self_ns for row in rows),
        cpu_self_ns=total_of(row.cpu_self_ns for row in rows),
        op_self_ns=total_of(row.op_self_ns for row in rows),
        flops_self=flops_of(rows),
        bytes_self=total_of(row.bytes_self for row in rows),
        energy_j=sum(joules) if joules else None,
    )


def _line(part: GroupOfCell) -> list[str]:
    times = (part.gpu_self_ns, part.cpu_self_ns, part.op_self_ns)
    amounts = (part.flops_self, part.bytes_self)
    return [
        part.cell,
        part.phase,
        part.group,
        str(part.kernels),
        *("" if ns is None else us_text(ns) for ns in times),
        *("" if amount is None else str(amount) for amount in amounts),
        "" if part.energy_j is None else repr(part.energy_j),
    ]
