"""An account of time, counted work and measured ceilings in; the same account with both out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from layerscope.analysis.compiled_regions import folded
from layerscope.analysis.rates import rates_of
from layerscope.analysis.roofline import with_roofline, with_work
from layerscope.errors import AccountingError
from layerscope.records import Account, Ceilings, CountedWork


def with_counted_work(
    account: Account,
    work: CountedWork,
    ceilings: Ceilings | None,
    fp32_matmul: Literal["highest", "high"],
    compiled: Sequence[str] = (),
) -> Account:
    """Fill in FLOPs, bytes, memory and, where the ceilings are known, the roofline of each row.

    The counter's own total becomes part of the whole, so that `check()` proves rule 5.

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
    if ceilings is not None:
        rows = with_roofline(rows, work, rates_of(ceilings, fp32_matmul))
    whole = dataclasses.replace(table.whole, flops=work.flops)
    return dataclasses.replace(account, table=dataclasses.replace(table, rows=rows, whole=whole))
