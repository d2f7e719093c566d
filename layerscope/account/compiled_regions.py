"""Parts that ran compiled: what is known of the layers inside goes to the part, by name."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from layerscope.records import CountedWork
from layerscope.records.work import WorkRow


def region_of(layer: str, parts: Sequence[str]) -> str | None:
    """The innermost compiled part that a layer is or lies in; None outside all of them."""
    found = [part for part in parts if layer == part or layer.startswith(f"{part}.")]
    return max(found, key=len) if found else None


def folded(work: CountedWork, parts: Sequence[str], rows: Sequence[tuple[str, str]]) -> CountedWork:
    """The counted work with that of layers inside compiled parts on the part's own row.

    Compiled code has no ranges inside, so the trace has no rows for these layers. Work is counted
    eagerly with the same shapes; its sum stays the counter's total.

    Args:
        parts: FQNs of the compiled parts; empty changes nothing.
        rows: (layer, phase) of every row of the account; a layer that has one keeps its work (the
            embedding that is called from outside the language model's step).
    """
    if not parts:
        return work
    there = set(rows)
    found: dict[tuple[str, str], WorkRow] = {}
    for row in work.rows:
        region = region_of(row.layer, parts)
        inside = region is not None and (row.layer, row.phase) not in there
        layer = region if inside and region is not None else row.layer
        before = found.get((layer, row.phase))
        found[layer, row.phase] = _sum(before, row, layer)
    return dataclasses.replace(work, rows=tuple(found.values()))


def _sum(before: WorkRow | None, row: WorkRow, layer: str) -> WorkRow:
    calls = row.calls if row.layer == layer else 0
    if before is None:
        return dataclasses.replace(row, layer=layer, calls=calls)
    peaks = [x for x in (before.memory_peak_bytes, row.memory_peak_bytes) if x is not None]
    return dataclasses.replace(
        before,
        calls=before.calls + calls,
        flops=None if before.flops is None or row.flops is None else before.flops + row.flops,
        missing=tuple(sorted({*before.missing, *row.missing})),
        bytes_self=before.bytes_self + row.bytes_self,
        operators=before.operators + row.operators,
        flops_by_dtype=dict(Counter(before.flops_by_dtype) + Counter(row.flops_by_dtype)),
        memory_peak_bytes=max(peaks) if peaks else None,
        heavy=dict(Counter(before.heavy) + Counter(row.heavy)),
        allocated_bytes=_both(before.allocated_bytes, row.allocated_bytes),
        retained_bytes=_both(before.retained_bytes, row.retained_bytes),
        unfused=tuple(dict.fromkeys((*before.unfused, *row.unfused))),
        freed_bytes=_both(before.freed_bytes, row.freed_bytes),
        largest_bytes=max(
            (x for x in (before.largest_bytes, row.largest_bytes) if x is not None), default=None
        ),
    )


def _both(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
