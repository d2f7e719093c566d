"""Counted work, measured ceilings and an account in; how far the run is from what it could be, out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from layerscope.core.units import ms_grouped, ms_two, percent_two, two_digits
from layerscope.records import Account, Ceilings, CountedWork, RunRecord
from layerscope.report.ceilings import ceilings_notes, ceilings_text
from layerscope.report.page import Grid
from layerscope.stats.latency import full_batches
from layerscope.work.floor import Floor, as_dtype, floor_of
from layerscope.work.mfu import Mfu, mfu_of
from layerscope.work.rates import rates_of
from layerscope.work.roofline import PhaseUse, phase_use

_HALF_DTYPES = {"fp16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True)
class Use:
    """Use of the device by phase, and the floor of the run: as it ran, and in one half dtype.

    Attributes:
        mfu: of a full batch, see `work.mfu`.
    """

    on_device: bool
    phases: tuple[PhaseUse, ...]
    floor: Floor
    uniform: Floor | None
    mfu: Mfu


def use_of(account: Account, work: CountedWork, record: RunRecord) -> Use | None:
    """How much of the device each phase used; None where no ceilings were measured."""
    if record.ceilings is None:
        return None
    rates = rates_of(record.ceilings, record.how.fp32_matmul)
    fastest = min((s.generate_ns for s in full_batches(record)), default=None)
    cache = record.ceilings.cache_bytes
    floor = floor_of(work.parts, rates).held_against(fastest, work.parts, cache)
    half = _HALF_DTYPES.get(record.config.dtype) if record.config is not None else None
    uniform = floor_of(as_dtype(work.parts, half, 2), rates) if half else None
    on_device = account.table.whole.device_sum_ns is not None
    phases = phase_use(account.table.rows, work, rates, floor)
    return Use(on_device, phases, floor, uniform, _mfu(work, record))


def _mfu(work: CountedWork, record: RunRecord) -> Mfu:
    """Of a full batch at its median latency."""
    assert record.ceilings is not None
    full = full_batches(record)
    wall = median(s.generate_ns for s in full) if full else None
    return mfu_of(work, record.ceilings, wall, record.how.fp32_matmul)


def use_grid(use: Use) -> Grid:
    """The table by phase; without a device, of the time inside operators."""
    return Grid(
        title=f"use of the {'device' if use.on_device else 'processor'} by phase",
        header=(
            "phase",
            "device us" if use.on_device else "operator us",
            "TFLOP/s",
            "of matmul rate",
            "GB/s",
            "of copy rate",
            "floor of time",
        ),
        rows=tuple(
            (
                phase.phase,
                f"{phase.device_ns / 1e3:,.3f}",
                _number(phase.tflops_per_s, "{:,.2f}"),
                _share(phase.of_matmul_rate),
                _number(phase.gb_per_s, "{:,.1f}"),
                _share(phase.traffic_use),
                _share(phase.floor_use),
            )
            for phase in use.phases
        ),
    )


def floor_lines(use: Use, record: RunRecord) -> Iterator[tuple[str, str]]:
    """(label, text): the ceilings, the floor and the distance to it."""
    assert record.ceilings is not None
    yield "ceilings", ceilings_text(record.ceilings)
    yield "MFU", _mfu_text(use.mfu)
    for text in ceilings_notes(record.ceilings):
        yield "", text
    for phase in use.phases:
        if phase.reason:
            yield "", f"left out: {phase.reason}{_why(phase, record.ceilings)}"
    if use.floor.floor_ns is None or use.floor.additive_ns is None:
        yield "floor", f"absent: {use.floor.reason}"
        return
    text = f"{ms_two(use.floor.floor_ns)} (additive {ms_two(use.floor.additive_ns)}) per batch"
    full = full_batches(record)
    if full:
        middle = median(s.generate_ns for s in full)
        times = two_digits(middle / use.floor.floor_ns)
        text += f"; the measured {ms_grouped(middle)} ms is {times} times it"
    yield "floor", text
    uniform = use.uniform
    if uniform is not None and uniform.floor_ns and uniform.additive_ns:
        yield (
            "",
            f"were all weights {record.profiled.dtype}: {ms_two(uniform.floor_ns)} "
            f"(additive {ms_two(uniform.additive_ns)})",
        )


def use_json(use: Use, record: RunRecord) -> dict[str, Any]:
    """The same for programs; what is absent is null, its reason beside it."""
    floor_ms = None if use.floor.floor_ns is None else use.floor.floor_ns / 1e6
    return {
        "mfu": use.mfu.share,
        "mfu_reason": use.mfu.reason or None,
        "floor_ms": floor_ms,
        "floor_reason": use.floor.reason or None,
        "phases": [
            {
                "phase": phase.phase,
                "of_matmul_rate": phase.of_matmul_rate,
                "of_copy_rate": phase.traffic_use,
                "floor_of_time": phase.floor_use,
                "reason": phase.reason or None,
            }
            for phase in use.phases
        ],
        "ceilings_notes": list(ceilings_notes(record.ceilings)) if record.ceilings else [],
    }


def _mfu_text(mfu: Mfu) -> str:
    if mfu.share is None:
        return f"absent: {mfu.reason}"
    rate = f"the maker's rate of {mfu.dtype}"
    return f"{percent_two(mfu.share)}: the batch's FLOPs at {rate}, over its latency"


def _why(phase: PhaseUse, ceilings: Ceilings) -> str:
    if phase.floor_use is None and ceilings.cache_bytes:
        size = two_digits(ceilings.cache_bytes / 1e6)
        return f" (what it read may have come from the last cache, {size} MB)"
    return ""


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _share(value: float | None) -> str:
    return "" if value is None else percent_two(value)
