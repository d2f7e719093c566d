"""The accounts of a distributed run's ranks in, their sum by layer out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from layerscope.core.columns import COLUMNS, Column
from layerscope.core.errors import DataError
from layerscope.records.layer_table import LayerRow, LayerTable, Whole
from layerscope.records.tables import Account

Key = tuple[str, str]


@dataclass(frozen=True)
class Rank:
    """One rank's account under the name that tells it from the others."""

    name: str
    account: Account


def named(accounts: Sequence[Account]) -> tuple[Rank, ...]:
    """The accounts as ranks: by their number where every trace gives one, else by their files.

    Raises:
        DataError: two accounts are of one rank, so its time would count twice.
    """
    numbered = all(account.rank for account in accounts)
    names = [a.rank if numbered else a.source for a in accounts]
    for name, count in Counter(names).items():
        if count > 1:
            files = ", ".join(a.source for a, n in zip(accounts, names, strict=True) if n == name)
            raise DataError(f"{files}: {count} traces of {name}; give each rank once.")
    return tuple(Rank(name, account) for name, account in zip(names, accounts, strict=True))


def rank_sum(ranks: Sequence[Rank], source: str) -> Account:
    """The layer table of all ranks together, and every rank's devices; kernels and steps stay theirs.

    Times, calls and events are sums over the ranks, windows and active times, too: their clocks are not
    one clock. What differs between ranks and is no time (a dtype) is blank.

    Raises:
        DataError: the ranks' layers are not of one kind, so they do not add up to anything.
    """
    kinds = {rank.account.layer_source for rank in ranks}
    if len(kinds) > 1 or len({rank.account.table.root for rank in ranks}) > 1:
        told = ", ".join(f"{r.name}: {r.account.layer_source}" for r in ranks)
        raise DataError(f"{source}: the layers of these traces are not of one kind ({told}).")
    tables = [rank.account.table for rank in ranks]
    rows: dict[Key, list[LayerRow]] = {key: [] for key in _in_order(tables)}
    for table in tables:
        for row in table.rows:
            rows[row.layer, row.phase].append(row)
    notes = [f"{r.name}: {note}" for r in ranks for note in r.account.table.notes]
    warnings = [f"{r.name}: {line}" for r in ranks for line in r.account.table.warnings]
    missing = _missing(ranks)
    summed = LayerTable(
        rows=tuple(_sum(parts) for parts in rows.values()),
        root=tables[0].root,
        whole=_whole([table.whole for table in tables]),
        notes=(*notes, *missing),
        warnings=tuple(warnings),
    )
    devices = tuple(
        replace(device, device=f"{rank.name}, device {device.device}")
        for rank in ranks
        for device in rank.account.devices
    )
    return Account(
        table=summed,
        kernels=(),
        operators=(),
        steps=(),
        source=source,
        devices=devices,
        layer_source=ranks[0].account.layer_source,
    )


def _in_order(tables: Sequence[LayerTable]) -> list[Key]:
    """Every (layer, phase) once: what only a later table has stands behind its neighbour there."""
    order: list[Key] = []
    known: set[Key] = set()
    for table in tables:
        at = 0
        for row in table.rows:
            key = (row.layer, row.phase)
            if at < len(order) and order[at] == key:
                at += 1
            elif key in known:
                at = max(at, order.index(key) + 1)
            else:
                order.insert(at, key)
                known.add(key)
                at += 1
    buckets = {(row.layer, row.phase) for table in tables for row in table.rows if row.is_bucket}
    return [k for k in order if k not in buckets] + [k for k in order if k in buckets]


def _sum(rows: Sequence[LayerRow]) -> LayerRow:
    """Each column as it says itself: the sum, what all ranks agree in, or nothing."""
    return LayerRow(**{column.field: _of_all(column, rows) for column in COLUMNS if column.field})


def _of_all(column: Column, rows: Sequence[LayerRow]) -> Any:
    values = [getattr(row, column.field) for row in rows]
    if column.over_ranks == "sum":
        return _total(values)
    agreed = column.over_ranks == "same" and all(value == values[0] for value in values)
    # A blank text column that every row must have says that the ranks differ.
    return values[0] if agreed else "" if column.required else None


def _whole(wholes: Sequence[Whole]) -> Whole:
    return Whole(
        device_events=sum(whole.device_events for whole in wholes),
        device_sum_ns=_total(whole.device_sum_ns for whole in wholes),
        device_active_ns=_total(whole.device_active_ns for whole in wholes),
        window_span_ns=_total(whole.window_span_ns for whole in wholes),
        host_window_ns=_total(whole.host_window_ns for whole in wholes),
    )


def _total(values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _missing(ranks: Sequence[Rank]) -> list[str]:
    """A note where the traces say that there were more ranks than these."""
    sizes = {rank.account.rank.partition(" of ")[2] for rank in ranks} - {""}
    return [
        f"{len(ranks)} of {size} ranks: the others' time is not in the sum"
        for size in sorted(sizes)
        if size.isdigit() and int(size) > len(ranks)
    ]
