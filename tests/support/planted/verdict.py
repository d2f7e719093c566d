"""The delays of a window and its account in; for each delay the layer and the length it was given, out.

The account sums what a layer has of one operator or kernel, to the nanosecond. So a row that holds
exactly its own delays has their number and their exact sum; which delays any other row holds follows
from the subset with its number and its sum.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from layerscope.records.tables import Account
from support.planted.operators import KERNEL, OPERATORS
from support.planted.truth import Delay

TOLERANCE = 0.02
_MOST_SUBSETS = 300_000

# `off`: in its own layer, but not within the tolerance. `lost`: in no row at all, or in one of the
# operators or kernels while the layer table has less time than that for the layer.
Verdict = Literal["right", "unknown", "wrong", "off", "lost"]


@dataclass(frozen=True)
class Finding:
    """One delay and what the account says of it. `found_*` is None where no row can be told."""

    layer: str
    plant: int
    planted_us: float
    found_us: float | None
    found_layer: str | None
    verdict: Verdict


@dataclass(frozen=True)
class Held:
    """What a layer has of the delays, by an account."""

    calls: int = 0
    total_ns: int = 0


def held_by_layer(account: Account, *, cuda: bool) -> dict[str, Held]:
    """Layer -> the delays that the account gives it, by its table of operators or of kernels."""
    calls: Counter[str] = Counter()
    total: Counter[str] = Counter()
    if cuda:
        for kernel in account.kernels:
            if KERNEL in kernel.kernel:
                calls[kernel.layer] += kernel.count
                total[kernel.layer] += kernel.total_ns
    else:
        for row in account.operators:
            if row.operator in OPERATORS:
                calls[row.layer] += row.calls
                total[row.layer] += row.total_ns
    return {layer: Held(calls[layer], total[layer]) for layer in calls}


def judge(
    delays: Sequence[Delay], account: Account, *, cuda: bool = False, regions: Collection[str] = ()
) -> tuple[Finding, ...]:
    """One finding for each delay.

    Args:
        regions: rows that stand for compiled code whose layers are not known.
    """
    root = account.table.root
    held = held_by_layer(account, cuda=cuda)
    where = _rows_of(delays, held, root)
    short = _short_rows(account, held, cuda=cuda)
    found = []
    for delay, row in zip(delays, where, strict=True):
        own = delay.layer or root
        row = None if row in short else row
        us = None if row is None or delay.event_ns is None else delay.event_ns / 1000
        verdict = _verdict(own, row, delay.planted_us, us, regions)
        found.append(Finding(own, delay.plant, delay.planted_us, us, row, verdict))
    return tuple(found)


def _verdict(
    own: str, row: str | None, planted_us: float, found_us: float | None, regions: Collection[str]
) -> Verdict:
    if row is None or found_us is None:
        return "lost"
    if row == own:
        return "right" if abs(found_us - planted_us) <= TOLERANCE * planted_us else "off"
    return "unknown" if row.startswith("(") or row in regions else "wrong"


def _rows_of(delays: Sequence[Delay], held: Mapping[str, Held], root: str) -> list[str | None]:
    """The row that holds each delay; None where none does, or none can be told."""
    own: dict[str, list[int]] = defaultdict(list)
    for index, delay in enumerate(delays):
        own[delay.layer or root].append(index)
    where: list[str | None] = [None] * len(delays)
    pool: list[int] = []
    left: dict[str, Held] = {}
    for layer in {**own, **held}:
        mine = own.get(layer, [])
        if layer in held and _is(held[layer], [delays[i] for i in mine]):
            for index in mine:
                where[index] = layer
        else:
            pool += mine
            left[layer] = held.get(layer, Held())
    for layer, row in sorted(left.items(), key=lambda item: item[1].calls):
        if not row.calls:
            continue
        for index in _subset(delays, pool, row):
            where[index] = layer
            pool.remove(index)
    return where


def _is(row: Held, delays: Sequence[Delay]) -> bool:
    events = [delay.event_ns for delay in delays if delay.event_ns is not None]
    return len(events) == len(delays) and row == Held(len(events), sum(events))


def _subset(delays: Sequence[Delay], pool: Sequence[int], row: Held) -> tuple[int, ...]:
    """The delays of the pool that make up a row; none where they cannot be told."""
    if row.calls > len(pool) or math.comb(len(pool), row.calls) > _MOST_SUBSETS:
        return ()
    for indices in itertools.combinations(pool, row.calls):
        if _is(row, [delays[i] for i in indices]):
            return indices
    return ()


def _short_rows(account: Account, held: Mapping[str, Held], *, cuda: bool) -> set[str]:
    """Layers whose rows in the layer table have less self time than the delays in the other tables."""
    in_table: Counter[str] = Counter()
    for row in account.table.rows:
        in_table[row.layer] += (row.gpu_self_ns if cuda else row.op_self_ns or row.cpu_self_ns) or 0
    return {layer for layer, row in held.items() if in_table[layer] < row.total_ns}
