"""Columns and their nesting in, the launch and the range of every device event out.

Device event -> correlation -> launch on the CUDA runtime or driver -> innermost range on the
launching thread. An event without a launch record keeps `NONE`: it is named later, never dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layerscope.trace.columns import ABSENT, Ints, TraceColumns
from layerscope.trace.tree import NONE, SpanTree, innermost_layer


@dataclass(frozen=True)
class Attribution:
    """For each device event, in the order of `TraceColumns.device`.

    Attributes:
        launch: index into the launches, `NONE` without a launch record.
        layer: span index of the innermost `layer:` range around the launch, `NONE` without one.
        ambiguous: events whose correlation id several processes launched, settled by time.
    """

    launch: Ints
    layer: Ints
    ambiguous: int


def attribute(columns: TraceColumns, tree: SpanTree) -> Attribution:
    """Link every device event to its launch and range."""
    launch, ambiguous = _match_launches(columns)
    layer_of_launch = innermost_layer(
        columns.spans, tree, columns.launches.thread, columns.launches.start_ns
    )
    layer = np.full(len(launch), NONE, np.int64)
    matched = launch != NONE
    layer[matched] = layer_of_launch[launch[matched]]
    return Attribution(launch=launch, layer=layer, ambiguous=ambiguous)


def _match_launches(columns: TraceColumns) -> tuple[Ints, int]:
    """The launch of each device event by correlation id.

    Ids are unique within a process only. A device event names no process, so where several
    processes launched under one id, the launch with the event's External id wins, else the last
    one that began before the event.
    """
    launches, device = columns.launches, columns.device
    pids = [pid for pid, _ in columns.threads]
    if len({pids[thread] for thread in np.unique(launches.thread).tolist()}) == 1:
        return _first_launches(launches.correlation, device.correlation), 0
    by_id: dict[int, list[int]] = {}
    seen: set[tuple[str, int]] = set()
    threads = launches.thread.tolist()
    for index, correlation in enumerate(launches.correlation.tolist()):
        key = (pids[threads[index]], correlation)
        # The runtime call that wraps a driver call shares its id and its range: one is enough.
        if key not in seen:
            seen.add(key)
            by_id.setdefault(correlation, []).append(index)
    found = np.full(len(device.correlation), NONE, np.int64)
    ambiguous = 0
    for event, correlation in enumerate(device.correlation.tolist()):
        candidates = by_id.get(correlation) if correlation != ABSENT else None
        if candidates is None:
            continue
        if len(candidates) > 1:
            ambiguous += 1
            found[event] = _settle(columns, event, candidates)
        else:
            found[event] = candidates[0]
    return found, ambiguous


def _first_launches(launched: Ints, wanted: Ints) -> Ints:
    """The first launch of each correlation id, within one process."""
    ids, first = np.unique(launched, return_index=True)
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    known = (ids[at] == wanted) & (wanted != ABSENT)
    return np.where(known, first[at], NONE).astype(np.int64)


def _settle(columns: TraceColumns, event: int, candidates: list[int]) -> int:
    launches, device = columns.launches, columns.device
    external = device.external_id[event]
    same = [c for c in candidates if external != ABSENT and launches.external_id[c] == external]
    pool = same or candidates
    began = [c for c in pool if launches.start_ns[c] <= device.start_ns[event]]
    return max(began or pool, key=lambda c: (int(launches.start_ns[c]), -c))
