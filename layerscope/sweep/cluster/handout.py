"""Cells that wait and the models that are loaded in, the cell to run next on a seat out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from layerscope.config.plan import LoadKey, load_key
from layerscope.records.sweep import Cell


def next_cell(
    waiting: Sequence[Cell], loaded: LoadKey | None, elsewhere: Collection[LoadKey]
) -> Cell:
    """The cell that costs the fewest model loads.

    One that runs on the model this seat has; else the first one whose model no other seat has; else
    the first one of the model with the most cells waiting, whose load is then worth most.

    Args:
        waiting: not empty.
        loaded: the model on this seat.
        elsewhere: models on the other seats.
    """
    keys = [load_key(cell.config) for cell in waiting]
    if loaded in keys:
        return waiting[keys.index(loaded)]
    for cell, key in zip(waiting, keys, strict=True):
        if key not in elsewhere:
            return cell
    ((most, _),) = Counter(keys).most_common(1)
    return waiting[keys.index(most)]
