"""A layer table in, its sums by phase and by group out.

Buckets belong to no phase and no group, so each stands under its own name and every list of parts
sums to the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from layerscope.core.vocabulary import BUCKETS, GROUPS, PHASES
from layerscope.records.layer_table import LayerRow, LayerTable, flops_of
from layerscope.report.columns import share_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A phase, a group or a bucket: sums of its rows' self values. None: no row measured it."""

    name: str
    is_bucket: bool
    kernels: int
    gpu_self_ns: int | None
    cpu_self_ns: int | None
    flops_self: int | None
    gpu_share: float | None  # of the device sum
    cpu_share: float | None  # of the window on the calling thread


def by_phase(table: LayerTable) -> tuple[Part, ...]:
    """Sums by phase in the order the model runs them, then the buckets that are not empty."""
    return _parts(table, table.rows, lambda row: row.phase, PHASES)


def by_group(table: LayerTable, phase: str | None = None) -> tuple[Part, ...]:
    """Sums by group, of one phase or of all, then the buckets that are not empty."""
    rows = [row for row in table.rows if phase is None or row.phase == phase]
    return _parts(table, rows, lambda row: row.group, GROUPS)


def phases_of(table: LayerTable) -> tuple[str, ...]:
    """The phases that occur, in the order the model runs them; buckets' rows left out."""
    return _ordered((row.phase for row in table.rows if not row.is_bucket), PHASES)


def total_of(values: Iterable[int | None]) -> int | None:
    """The sum of what was measured; None when nothing was."""
    measured = [value for value in values if value is not None]
    return sum(measured) if measured else None


def _parts(
    table: LayerTable,
    rows: Iterable[LayerRow],
    name_of: Callable[[LayerRow], str],
    order: tuple[str, ...],
) -> tuple[Part, ...]:
    kept: dict[tuple[bool, str], list[LayerRow]] = {}
    for row in rows:
        name = row.layer if row.is_bucket else name_of(row)
        kept.setdefault((row.is_bucket, name), []).append(row)
    names = _ordered((name for bucket, name in kept if not bucket), order)
    buckets = _ordered((name for bucket, name in kept if bucket), BUCKETS)
    parts = [_part(table, name, False, kept[False, name]) for name in names]
    held = [_part(table, name, True, kept[True, name]) for name in buckets]
    return (*parts, *(part for part in held if not _empty(part)))


def _part(table: LayerTable, name: str, is_bucket: bool, rows: list[LayerRow]) -> Part:
    gpu = total_of(row.gpu_self_ns for row in rows)
    cpu = total_of(row.cpu_self_ns for row in rows)
    return Part(
        name=name,
        is_bucket=is_bucket,
        kernels=sum(row.kernels for row in rows),
        gpu_self_ns=gpu,
        cpu_self_ns=cpu,
        flops_self=flops_of(rows),
        gpu_share=share_of(gpu, table.whole.device_sum_ns),
        cpu_share=share_of(cpu, table.whole.host_window_ns),
    )


def _empty(part: Part) -> bool:
    return not (part.kernels or part.gpu_self_ns or part.cpu_self_ns or part.flops_self)


def _ordered(names: Iterable[str], order: tuple[str, ...]) -> tuple[str, ...]:
    found = dict.fromkeys(names)
    return (*(n for n in order if n in found), *(n for n in found if n not in order))
