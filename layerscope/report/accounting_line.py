"""A layer table in, the one line that proves it out: the measured whole and the parts it is made of."""

from __future__ import annotations

from collections.abc import Callable

from layerscope.core.microseconds import us_grouped
from layerscope.core.vocabulary import BUCKETS, NO_LAUNCH_RECORD, OUTSIDE_MODEL
from layerscope.records.layer_table import LayerRow, LayerTable


def accounting_line(table: LayerTable) -> str:
    """`device W us = modules A + generate outside modules B + no launch record C; difference D ns`.

    The host's window takes the device's place when no device was traced. A bucket that holds
    something is always named; an empty one only if its emptiness is a result in itself.
    """
    if table.whole.device_sum_ns is not None:
        return _line(
            table,
            "device",
            table.whole.device_sum_ns,
            table.device_difference_ns,
            lambda row: row.gpu_self_ns or 0,
            NO_LAUNCH_RECORD,
        )
    if table.whole.host_window_ns is not None:
        return _line(
            table,
            "host",
            table.whole.host_window_ns,
            table.host_difference_ns,
            lambda row: row.cpu_self_ns or 0,
            OUTSIDE_MODEL,
        )
    return "no time accounted for: the trace holds neither a device event nor a range"


def energy_line(table: LayerTable) -> str:
    """Rule 6 in a line: the joules of one batch are those of its rows."""
    joules = (table.whole.energy_nj or 0) / 1e9
    return (
        f"energy {joules:,.9f} J, one batch end to end = sum of the rows; "
        f"difference {table.energy_difference_nj} nJ"
    )


def _line(
    table: LayerTable,
    what: str,
    whole_ns: int,
    difference_ns: int | None,
    self_ns: Callable[[LayerRow], int],
    always: str,
) -> str:
    modules = outside = 0
    held = dict.fromkeys(BUCKETS, 0)
    filled = {always}
    for row in table.rows:
        if row.is_bucket:
            held[row.layer] += self_ns(row)
            if self_ns(row) or (row.kernels and what == "device"):
                filled.add(row.layer)
        elif row.layer == table.root:
            outside += self_ns(row)
        else:
            modules += self_ns(row)
    parts = [("modules", modules), (f"{table.root} outside modules", outside)]
    parts += [(name.strip("()"), ns) for name, ns in held.items() if name in filled]
    terms = " + ".join(f"{name} {us_grouped(ns)}" for name, ns in parts)
    return f"{what} {us_grouped(whole_ns)} us = {terms}; difference {difference_ns} ns"
