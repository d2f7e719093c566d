"""An account in, the times its figures show out: device time, on a CPU run time inside operators."""

from __future__ import annotations

from collections.abc import Iterable

from layerscope.records.layer_table import LayerRow
from layerscope.records.tables import Account
from layerscope.work.roofline import device_ns


def time_words(account: Account) -> str:
    """What the times are, in words."""
    on_device = account.table.whole.device_sum_ns is not None
    return "device time" if on_device else "time inside operators (CPU)"


def total_ns(rows: Iterable[LayerRow]) -> int:
    """Sum of the rows' own times."""
    return sum(device_ns(row) or 0 for row in rows)


def reason_without_time(account: Account) -> str | None:
    """Why no time by layer can be drawn, or None when it can."""
    if total_ns(account.table.rows):
        return None
    return "no device time and no operators were traced"
