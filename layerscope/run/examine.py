"""A trace file and what was counted beside it in; the finished account and the idle time out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from layerscope.analysis.account import Workings, account, work_out_known
from layerscope.analysis.devices import of_device
from layerscope.analysis.enrich import with_counted_work
from layerscope.analysis.idle import Idle, idle_of
from layerscope.errors import AccountingError
from layerscope.records import Account, Ceilings, CountedWork, ModuleRecord
from layerscope.records.provenance import Provenance
from layerscope.trace.columns import read_trace


@dataclass(frozen=True)
class Examined:
    """One trace. `idle` is None without device events; `failures` name what does not fit."""

    workings: Workings
    account: Account
    idle: Idle | None
    failures: tuple[str, ...] = ()


def examine(
    trace: Path,
    modules: Sequence[ModuleRecord] = (),
    steps: int | None = None,
    work: CountedWork | None = None,
    ceilings: Ceilings | None = None,
    fp32_matmul: Literal["highest", "high"] = "highest",
    compiled: Sequence[str] = (),
    device: str | None = None,
    provenance: Provenance | None = None,
) -> Examined:
    """Account for a trace and lay the counted work over it.

    Args:
        device: only this device's events; None for all.
        provenance: of the compiled code that ran; None for an eager run or a bare trace.

    Raises:
        DataError: the trace cannot be read.
        UsageError: the trace has no such device.
    """
    columns = read_trace(trace)
    if device is not None:
        columns = of_device(columns, device)
    workings = work_out_known(columns, modules, provenance)
    found = account(workings, source=str(trace), modules=modules, steps=steps, compiled=compiled)
    failures: tuple[str, ...] = ()
    if work is not None:
        try:
            found = with_counted_work(found, work, ceilings, fp32_matmul, compiled)
        except AccountingError as error:
            failures = (str(error),)
    return Examined(workings, found, idle_of(workings, found.table), failures)
