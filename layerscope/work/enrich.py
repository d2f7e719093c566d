"""An account of time, counted work and ceilings in; the account with both, and the ceilings, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from layerscope.account.compiled_regions import folded
from layerscope.core.errors import AccountingError
from layerscope.records import Account, Ceilings, CountedWork
from layerscope.records.waits import Waits
from layerscope.work.beaten_ceilings import believed, with_rooflines_again
from layerscope.work.rates import rates_of
from layerscope.work.roofline import with_roofline, with_work


@dataclass(frozen=True, slots=True)
class Enriched:
    """`ceilings` are those that the account's rooflines rest on: raised where a row beat them."""

    account: Account
    ceilings: Ceilings | None


def with_counted_work(
    account: Account,
    work: CountedWork,
    ceilings: Ceilings | None,
    fp32_matmul: Literal["highest", "high"],
    compiled: Sequence[str] = (),
    waits: Waits | None = None,
) -> Enriched:
    """Fill in FLOPs, bytes, memory and, where the ceilings are known, the roofline of each row.

    The counter's own total becomes part of the whole, so that `check()` proves rule 5. Ceilings that
    cannot be true, or that rows beat, are said in the table's warnings.

    Raises:
        AccountingError: work was counted for a layer and phase that the trace does not have, or the
            layers' counted FLOPs do not sum to the counter's.
    """
    counted = sum(row.counted_flops for row in work.rows)
    if work.counted_flops is not None and counted != work.counted_flops:
        raise AccountingError(
            f"FLOPs: the layers' sum {counted:,} is not the counter's {work.counted_flops:,}."
        )
    table = account.table
    places = [(row.layer, row.phase) for row in table.rows if not row.is_bucket]
    work = folded(work, compiled, places)
    rows = with_work(table.rows, work, table.root)
    lines: tuple[str, ...] = ()
    if ceilings is not None:
        doubted = believed(ceilings, rows, work, fp32_matmul, _fused_attention(account))
        ceilings, lines = doubted.ceilings, doubted.lines
    if ceilings is not None:
        rows = with_roofline(rows, work, rates_of(ceilings, fp32_matmul), waits)
    table = dataclasses.replace(
        table,
        rows=rows,
        whole=dataclasses.replace(table.whole, flops=work.flops),
        warnings=(*table.warnings, *lines),
    )
    return Enriched(dataclasses.replace(account, table=table), ceilings)


def with_ceilings_doubted(
    account: Account, ceilings: Ceilings, fp32_matmul: Literal["highest", "high"]
) -> Enriched:
    """The same doubt for a table that was read back with its rooflines, without the counted work."""
    table = account.table
    doubted = believed(ceilings, table.rows, None, fp32_matmul, _fused_attention(account))
    rows = table.rows
    if doubted.ceilings is not None:
        rows = with_rooflines_again(rows, ceilings, doubted.ceilings, fp32_matmul)
    table = dataclasses.replace(table, rows=rows, warnings=(*table.warnings, *doubted.lines))
    return Enriched(dataclasses.replace(account, table=table), doubted.ceilings)


def _fused_attention(account: Account) -> set[tuple[str, str]]:
    """Rows whose attention was one kernel, which may skip what a mask hides."""
    return {(row.layer, row.phase) for row in account.attention if row.backend != "math"}
