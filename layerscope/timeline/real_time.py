"""A traced account in, each row's part of the same batch's unprofiled time out."""

from __future__ import annotations

from layerscope.records.layer_table import LayerTable
from layerscope.timeline.idle import NOTHING_FOLLOWED, Idle

Key = tuple[str, str]  # (layer, phase)


def wall_by_row(table: LayerTable, idle: Idle | None, wall_s: float) -> dict[Key, float]:
    """Each row's part of the real run's time, in seconds; they sum to `wall_s`.

    On a device: the row's active time, which profiling does not change, and of the real run's idle
    time the share that the row's gaps have of the trace's. On a CPU: in proportion to host self time.
    """
    keys = [(row.layer, row.phase) for row in table.rows]
    if idle is None:
        host = {(row.layer, row.phase): row.cpu_self_ns or 0 for row in table.rows}
        whole = sum(host.values())
        return {key: wall_s * host[key] / whole if whole else 0.0 for key in keys}
    home = _home_of_nothing(table)
    active: dict[Key, float] = dict.fromkeys(keys, 0.0)
    gaps: dict[Key, float] = dict.fromkeys(keys, 0.0)
    for row in idle.rows:
        key = (row.layer, row.phase)
        if row.layer == NOTHING_FOLLOWED or key not in active:
            key = home
        active[key] += row.active_ns / 1e9
        gaps[key] += row.idle_ns / 1e9
    active_s, gaps_s = sum(active.values()), sum(gaps.values())
    left_s = wall_s - active_s
    if left_s < 0 or not gaps_s:
        # The batch took no longer than its kernels did in the trace: there is no idle to deal out.
        return {key: wall_s * active[key] / active_s if active_s else 0.0 for key in keys}
    return {key: active[key] + left_s * gaps[key] / gaps_s for key in keys}


def _home_of_nothing(table: LayerTable) -> Key:
    """Where the time after the last kernel goes: the root, in the last of its phases."""
    roots = [(row.layer, row.phase) for row in table.rows if row.layer == table.root]
    return roots[-1] if roots else (table.rows[0].layer, table.rows[0].phase)
