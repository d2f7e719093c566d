"""A worked-out trace and what is known beside it in; the finished account and the idle time out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from layerscope.account.account import Workings, account, with_heavy_count, work_out_known
from layerscope.account.devices import of_device
from layerscope.account.heavy_count import heavy_count
from layerscope.core.errors import AccountingError
from layerscope.core.roles import Roles
from layerscope.records import Account, Ceilings, CountedWork, ModuleRecord, RunRecord
from layerscope.records.heavy import HeavyCount, differences
from layerscope.records.provenance import Provenance
from layerscope.records.run_record import CaptureRecord
from layerscope.timeline.idle import Idle, idle_of, waits_of
from layerscope.trace.columns import read_trace
from layerscope.work.enrich import with_counted_work


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What is known beside a trace; of a bare trace nothing is.

    Attributes:
        modules: the model's.
        steps: decoder steps counted outside the trace, for rule 4.
        compiled: FQNs of the parts that ran compiled.
        provenance: of the compiled code that ran; None for an eager run.
        captured: a capture's record, for the calls that ran eagerly beside compiled code.
    """

    modules: Sequence[ModuleRecord] = ()
    roles: Roles = field(default_factory=dict)
    steps: int | None = None
    work: CountedWork | None = None
    ceilings: Ceilings | None = None
    fp32_matmul: Literal["highest", "high"] = "highest"
    compiled: Sequence[str] = ()
    provenance: Provenance | None = None
    captured: CaptureRecord | None = None


def beside_of(record: RunRecord, work: CountedWork | None, provenance: Provenance | None) -> Beside:
    """What a run's record and files say beside its trace."""
    return Beside(
        modules=record.model.modules,
        roles=record.model.roles,
        steps=record.trace.decoder_steps if record.trace else None,
        work=work,
        ceilings=record.ceilings,
        fp32_matmul=record.how.fp32_matmul,
        compiled=record.compiled_parts,
        provenance=provenance,
        captured=record.captured,
    )


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


NOTHING = Beside()


def workings_of(trace: Path, beside: Beside = NOTHING, device: str | None = None) -> Workings:
    """Read a trace and work it out, by the best layers that it has; the one way to do so.

    Args:
        device: only this device's events; None for all.

    Raises:
        DataError: the trace cannot be read.
        UsageError: the trace has no such device.
    """
    columns = read_trace(trace)
    if device is not None:
        columns = of_device(columns, device)
    return work_out_known(columns, beside.modules, beside.provenance, beside.roles)


def examine(workings: Workings, source: Path, beside: Beside = NOTHING) -> Examined:
    """Account for a trace and lay the counted work over it.

    Args:
        source: where the trace came from, for the tables' heading.
    """
    found = account(
        workings,
        source=str(source),
        modules=beside.modules,
        steps=beside.steps,
        compiled=beside.compiled,
        counted=beside.work.calls if beside.work is not None else None,
    )
    idle = idle_of(workings, found.table)
    ceilings = beside.ceilings
    failures: tuple[str, ...] = ()
    if beside.work is not None:
        try:
            enriched = with_counted_work(
                found, beside.work, ceilings, beside.fp32_matmul, beside.compiled, waits_of(idle)
            )
            found, ceilings = enriched.account, enriched.ceilings
        except AccountingError as error:
            failures = (str(error),)
        failures += _other_layers(workings, beside.work)
    elif workings.compiled is not None and (beside.captured is not None or not beside.modules):
        found = with_heavy_count(found, workings, _eager(beside.captured))
    return Examined(workings, found, idle, failures, ceilings)


def _eager(captured: CaptureRecord | None) -> HeavyCount | None:
    """The heavy operators of the same calls run eagerly, where a capture was given them."""
    if captured is None or captured.eager_heavy is None:
        return None
    return HeavyCount(Counter({(op, layer): n for op, layer, n in captured.eager_heavy}))


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
