"""A trace file and what was counted beside it in; the finished account and the idle time out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from layerscope.account.account import Workings, account, work_out_known
from layerscope.account.devices import of_device
from layerscope.account.heavy_count import heavy_count
from layerscope.core.errors import AccountingError
from layerscope.records import Account, Ceilings, CountedWork, ModuleRecord
from layerscope.records.heavy import differences
from layerscope.records.provenance import Provenance
from layerscope.timeline.idle import Idle, idle_of
from layerscope.trace.columns import read_trace
from layerscope.work.enrich import with_counted_work


@dataclass(frozen=True)
class Examined:
    """One trace. `idle` is None without device events; `failures` name what does not fit.

    `ceilings` are those given, raised where the run beat them; see `believed`.
    """

    workings: Workings
    account: Account
    idle: Idle | None
    failures: tuple[str, ...] = ()
    ceilings: Ceilings | None = None


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
            enriched = with_counted_work(found, work, ceilings, fp32_matmul, compiled)
            found, ceilings = enriched.account, enriched.ceilings
        except AccountingError as error:
            failures = (str(error),)
        failures += _other_layers(workings, work)
    return Examined(workings, found, idle_of(workings, found.table), failures, ceilings)


def _other_layers(workings: Workings, work: CountedWork) -> tuple[str, ...]:
    """Where compiled code's heavy operators are in other layers than those counted eagerly."""
    if workings.compiled is None:
        return ()
    eager = {(kind, row.layer): 0 for row in work.rows for kind in row.heavy}
    for row in work.rows:
        for kind, count in row.heavy.items():
            eager[kind, row.layer] += count
    # A run read back has no such count; what it found is in its record.
    return tuple(differences(eager, heavy_count(workings))) if eager else ()
