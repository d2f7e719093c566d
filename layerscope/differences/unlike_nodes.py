"""A sweep's rows in; where their machines differ, and which cells had neighbours, out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from layerscope.records import Environment
from layerscope.records.sweep import SweepRow
from layerscope.records.sweep_places import CellPlace

_Read = Callable[[Environment], object]


def _package(name: str) -> _Read:
    return lambda environment: environment.packages.get(name)


# What changes a time or an energy. Clocks and temperature move by themselves and stand in run.json.
_MACHINE: dict[str, _Read] = {
    "CPU": lambda e: e.cpu_model,
    "number of CPUs": lambda e: e.cpu_count,
    "operating system": lambda e: e.platform,
    "layerscope": lambda e: e.layerscope,
    "Python": lambda e: e.python,
    "torch": lambda e: e.torch,
    "torch threads": lambda e: e.torch_threads,
    "transformers": _package("transformers"),
    "triton": _package("triton"),
}
_GPU: dict[str, _Read] = {
    "GPU": lambda e: e.gpu_name,
    "GPU memory in bytes": lambda e: e.gpu_memory_bytes,
    "GPU power limit in W": lambda e: e.gpu_power_limit_w,
    "NVIDIA driver": lambda e: e.driver,
    "CUDA": lambda e: e.cuda,
}


@dataclass(frozen=True)
class Difference:
    """Something that cells of one sweep do not share: each value with the rows that had it."""

    what: str
    values: tuple[tuple[str, tuple[SweepRow, ...]], ...]


def unlike(rows: Sequence[SweepRow]) -> tuple[Difference, ...]:
    """What differs between the machines and the software that measured the rows.

    GPUs are compared among the cells that ran on one.
    """
    measured = [row for row in rows if row.environment is not None]
    on_gpu = [row for row in measured if row.config.device == "cuda"]
    found = []
    for chosen, fields in ((on_gpu, _GPU), (measured, _MACHINE)):
        for what, read in fields.items():
            by_value: dict[str, list[SweepRow]] = {}
            for row in chosen:
                assert row.environment is not None
                value = read(row.environment)
                by_value.setdefault("unknown" if value is None else str(value), []).append(row)
            if len(by_value) > 1:
                values = tuple((value, tuple(of)) for value, of in by_value.items())
                found.append(Difference(what, values))
    return tuple(found)


def neighboured(rows: Sequence[SweepRow]) -> tuple[SweepRow, ...]:
    """Cells that ran while another one ran on the same node, each on its own device."""
    placed = [(row, row.place) for row in rows if row.place is not None]
    return tuple(
        row
        for row, place in placed
        if any(other is not place and _at_once(place, other) for _, other in placed)
    )


def _at_once(one: CellPlace, other: CellPlace) -> bool:
    if one.node != other.node:
        return False
    began, ended = _span(one)
    other_began, other_ended = _span(other)
    return began < other_ended and other_began < ended


def _span(place: CellPlace) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(place.began_utc), datetime.fromisoformat(place.ended_utc)
