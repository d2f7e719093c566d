"""The places that a finding rests on in, the same with what takes most time first out."""

from __future__ import annotations

import re
from collections.abc import Iterable

from layerscope.findings.evidence import Evidence
from layerscope.records.finding import RestsOn
from layerscope.records.layer_table import LayerRow
from layerscope.work.roofline import sum_ns


def largest_first(places: Iterable[RestsOn], evidence: Evidence) -> tuple[RestsOn, ...]:
    """Places with rows by the time of those rows; places of a file alone stay behind, in their order."""
    held = list(places)
    times = {place: sum_ns(rows_of(place, evidence.rows)) for place in held}
    return tuple(sorted(held, key=lambda place: -times[place]))


def rows_of(place: RestsOn, rows: Iterable[LayerRow]) -> list[LayerRow]:
    """The rows that a place names; none for a file's field."""
    if not (place.layer or place.phase or place.group):
        return []
    pattern = re.compile(re.escape(place.layer).replace(r"\*", r"\d+")) if place.layer else None
    return [
        row
        for row in rows
        if place.phase in ("", row.phase)
        and place.group in ("", row.group)
        and (pattern is None or pattern.fullmatch(row.layer))
    ]
