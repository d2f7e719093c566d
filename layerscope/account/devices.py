"""A trace worked out in, what each device in it did out; and the trace of one device alone."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from layerscope.account.intervals import union_ns
from layerscope.core.errors import UsageError
from layerscope.core.vocabulary import BUCKETS
from layerscope.records.tables import DeviceRow
from layerscope.trace.attribution import Attribution
from layerscope.trace.columns import ABSENT, DeviceEvents, TraceColumns
from layerscope.trace.tree import NONE


def device_rows(
    columns: TraceColumns, links: Attribution, keys: tuple[tuple[str, str], ...]
) -> tuple[DeviceRow, ...]:
    """One row per device, by its number; `keys` hold the (layer, phase) of every device event."""
    device = columns.device
    in_layer = np.array([layer not in BUCKETS for layer, _ in keys], np.bool_)
    rows = []
    for current in np.unique(device.device).tolist():
        mine = device.device == current
        launches = np.unique(links.launch[mine])
        threads = np.unique(columns.launches.thread[launches[launches != NONE]])
        start = device.start_ns[mine]
        rows.append(
            DeviceRow(
                device=device_name(columns, current),
                processes=tuple(dict.fromkeys(columns.threads[t][0] for t in threads.tolist())),
                events=int(mine.sum()),
                layers_ns=int(device.dur_ns[mine & in_layer].sum()),
                buckets_ns=int(device.dur_ns[mine & ~in_layer].sum()),
                active_ns=union_ns(start, start + device.dur_ns[mine]),
            )
        )
    return tuple(rows)


def device_name(columns: TraceColumns, device: int) -> str:
    """The device's number, or the name that the trace gives it."""
    if device == ABSENT:
        return "unknown"
    return columns.device_names.get(device, str(device))


def rank_of(metadata: dict[str, Any]) -> str:
    """`rank 3 of 8` of a distributed run, or an empty text."""
    told = metadata.get("distributedInfo")
    if not isinstance(told, dict) or not isinstance(told.get("rank"), int):
        return ""
    size = told.get("world_size")
    return f"rank {told['rank']}" + (f" of {size}" if isinstance(size, int) else "")


def of_device(columns: TraceColumns, name: str) -> TraceColumns:
    """The trace with the events of one device alone; its host stays whole.

    Raises:
        UsageError: no event of a device with this name.
    """
    names = {device_name(columns, n): n for n in np.unique(columns.device.device).tolist()}
    if name not in names:
        has = f"it has {', '.join(map(repr, names))}" if names else "it has none"
        raise UsageError(f"--device {name}: no such device in the trace; {has}.")
    mine = columns.device.device == names[name]
    parts = {part.name: getattr(columns.device, part.name)[mine] for part in fields(DeviceEvents)}
    return replace(columns, device=DeviceEvents(**parts))
