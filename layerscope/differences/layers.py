"""Two layer tables in, their differences by (layer, phase) out, largest first and summing exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from layerscope.core.errors import DataError
from layerscope.core.vocabulary import PHASES
from layerscope.records.comparison import LayerChange, LayerComparison, Measure, PhaseChange
from layerscope.records.layer_table import LayerRow, LayerTable

Key = tuple[str, str]


def compare_layers(base: LayerTable, other: LayerTable) -> LayerComparison:
    """Compare self times row by row: device time where both have it, else host time.

    Raises:
        DataError: a side has neither, so there is nothing to compare.
    """
    measure = _measure(base, other)
    sides = _by_key(base.rows, measure), _by_key(other.rows, measure)
    keys = dict.fromkeys((*sides[0], *sides[1]))
    rows = [_change(key, sides[0].get(key), sides[1].get(key), measure) for key in keys]
    # By name where the change is equal, so that the order does not depend on the tables' order.
    rows.sort(key=lambda row: (-abs(row.change_ns), row.layer, row.phase))
    return LayerComparison(
        measure=measure,
        rows=tuple(rows),
        phases=_phases(rows, base, other),
        base_whole_ns=_whole(base, measure),
        other_whole_ns=_whole(other, measure),
        notes=_notes(base, other, rows, measure),
    )


def _measure(base: LayerTable, other: LayerTable) -> Measure:
    tables = (base, other)
    if all(table.whole.device_sum_ns is not None for table in tables):
        return "device"
    if all(table.whole.host_window_ns is not None for table in tables):
        return "host"
    raise DataError(
        "the two traces have no kind of time in common: device time needs device events in both, "
        "host time needs layer ranges in both."
    )


def _whole(table: LayerTable, measure: Measure) -> int:
    whole = table.whole.device_sum_ns if measure == "device" else table.whole.host_window_ns
    return whole or 0


def _own(row: LayerRow, measure: Measure) -> int:
    return (row.gpu_self_ns if measure == "device" else row.cpu_self_ns) or 0


def _by_key(rows: Sequence[LayerRow], measure: Measure) -> dict[Key, LayerRow]:
    """Rows by (layer, phase), without those that neither ran nor hold time.

    A row above a called one exists in every phase its children ran in; on one side only, it would
    be said to appear though nothing did.
    """
    return {
        (row.layer, row.phase): row
        for row in rows
        if row.calls or row.kernels or _own(row, measure) or row.cpu_self_ns
    }


def _change(
    key: Key, base: LayerRow | None, other: LayerRow | None, measure: Measure
) -> LayerChange:
    present = other or base
    assert present is not None  # a key comes from a row
    return LayerChange(
        layer=key[0],
        phase=key[1],
        module=present.module,
        group=present.group,
        base_ns=_own(base, measure) if base else None,
        other_ns=_own(other, measure) if other else None,
        base_calls=base.calls if base else None,
        other_calls=other.calls if other else None,
        layer_kind=present.kind,
    )


def _phases(
    rows: Sequence[LayerChange], base: LayerTable, other: LayerTable
) -> tuple[PhaseChange, ...]:
    """Sums by phase in the order phases run, then the buckets by name; together the whole."""
    buckets = {row.layer for table in (base, other) for row in table.rows if row.is_bucket}
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    for row in rows:
        name = row.layer if row.layer in buckets else row.phase
        before[name] += row.base_ns or 0
        after[name] += row.other_ns or 0
    names = sorted(
        before, key=lambda n: (n in buckets, PHASES.index(n) if n in PHASES else len(PHASES), n)
    )
    return tuple(PhaseChange(name=n, base_ns=before[n], other_ns=after[n]) for n in names)


def _notes(
    base: LayerTable, other: LayerTable, rows: Sequence[LayerChange], measure: Measure
) -> tuple[str, ...]:
    notes = ["one traced batch a side, so no interval stands behind a single layer"]
    if measure == "host" and (base.whole.device_sum_ns is None) != (
        other.whole.device_sum_ns is None
    ):
        notes.append("host time, because only one of the two traces holds device events")
    called = [r for r in rows if r.status == "both" and r.base_calls != r.other_calls]
    if called:
        first = called[0]
        notes.append(
            f"{len(called)} rows were called a different number of times, first {first.layer} "
            f"({first.phase}): {first.base_calls} and {first.other_calls} calls"
        )
    for label, table in (("BASE", base), ("OTHER", other)):
        failures = table.failures()
        if failures:
            notes.append(f"the account of {label} does not add up: {failures[0]}")
    return tuple(notes)
