"""Counted work, measured ceilings and an account in; how far the run is from what it could be, out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from layerscope.analysis.floor import Floor, as_dtype, floor_of
from layerscope.analysis.latency import full_batches
from layerscope.analysis.rates import rates_of
from layerscope.analysis.roofline import PhaseUse, phase_use
from layerscope.records import Account, Ceilings, CountedWork, RunRecord
from layerscope.report.page import Grid

_HALF_DTYPES = {"fp16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True)
class Use:
    """Use of the device by phase, and the floor of the run: as it ran, and in one half dtype."""

    on_device: bool
    phases: tuple[PhaseUse, ...]
    floor: Floor
    uniform: Floor | None


def use_of(account: Account, work: CountedWork, record: RunRecord) -> Use | None:
    """How much of the device each phase used; None where no ceilings were measured."""
    if record.ceilings is None:
        return None
    rates = rates_of(record.ceilings, record.config.fp32_matmul)
    floor = floor_of(work.parts, rates)
    half = _HALF_DTYPES.get(record.config.dtype)
    uniform = floor_of(as_dtype(work.parts, half, 2), rates) if half else None
    on_device = account.table.whole.device_sum_ns is not None
    return Use(on_device, phase_use(account.table.rows, work, rates, floor), floor, uniform)


def use_grid(use: Use) -> Grid:
    """The table by phase; without a device, of the time inside operators."""
    return Grid(
        title=f"use of the {'device' if use.on_device else 'processor'} by phase",
        header=(
            "phase",
            "device us" if use.on_device else "operator us",
            "TFLOP/s",
            "MFU",
            "GB/s",
            "of copy rate",
            "floor of time",
        ),
        rows=tuple(
            (
                phase.phase,
                f"{phase.device_ns / 1e3:,.3f}",
                _number(phase.tflops_per_s, "{:,.2f}"),
                _number(phase.mfu, "{:.1%}"),
                _number(phase.gb_per_s, "{:,.1f}"),
                _number(phase.traffic_use, "{:.1%}"),
                _number(phase.floor_use, "{:.1%}"),
            )
            for phase in use.phases
        ),
    )


def floor_lines(use: Use, record: RunRecord) -> Iterator[tuple[str, str]]:
    """(label, text): the ceilings, the floor and the distance to it."""
    assert record.ceilings is not None
    yield "ceilings", _ceilings_text(record.ceilings)
    if use.floor.floor_ns is None or use.floor.additive_ns is None:
        yield "floor", f"not known: {use.floor.reason}"
        return
    text = f"{use.floor.floor_ns / 1e6:,.3f} ms (additive {use.floor.additive_ns / 1e6:,.3f}) per batch"
    full = full_batches(record)
    if full:
        middle = median(s.generate_ns for s in full)
        text += (
            f"; the measured {middle / 1e6:,.3f} ms is {middle / use.floor.floor_ns:.2f} times it"
        )
    yield "floor", text
    uniform = use.uniform
    if uniform is not None and uniform.floor_ns and uniform.additive_ns:
        yield (
            "",
            f"were all weights {record.config.dtype}: {uniform.floor_ns / 1e6:,.3f} ms "
            f"(additive {uniform.additive_ns / 1e6:,.3f})",
        )


def _ceilings_text(ceilings: Ceilings) -> str:
    rates = ", ".join(
        f"{name} {rate / 1e12:,.4g}{_stated(ceilings, name)} TFLOP/s"
        for name, rate in ceilings.matmul_flops_per_s.items()
    )
    sheet = ceilings.datasheet_bytes_per_s
    beside = f" (datasheet {sheet / 1e9:,.0f})" if sheet else ""
    return f"measured here: {rates}; copy {ceilings.copy_bytes_per_s / 1e9:,.0f}{beside} GB/s"


def _stated(ceilings: Ceilings, name: str) -> str:
    sheet = (ceilings.datasheet_flops_per_s or {}).get(name)
    return f" (datasheet {sheet / 1e12:,.0f})" if sheet else ""


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
