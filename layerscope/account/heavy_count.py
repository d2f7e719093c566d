"""A trace worked out in, which heavy operators ran in which layers out, eager or compiled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from layerscope.account.workings import Workings
from layerscope.records.heavy import HeavyCount, heavy_kind
from layerscope.trace.tree import NONE, nearest_above


def heavy_count(workings: Workings) -> HeavyCount:
    """Count what ran in layers' ranges, by operator on the host, and in replays of CUDA graphs."""
    columns, tree, code = workings.columns, workings.tree, workings.compiled
    kinds = [heavy_kind(name) for name in columns.names]
    is_heavy = np.array([bool(kind) for kind in kinds], np.bool_)[columns.spans.name]
    in_site = code.site_of_span != NONE if code is not None else np.zeros(len(is_heavy), np.bool_)
    inside = nearest_above(tree, is_heavy | in_site)
    known: Counter[tuple[str, str]] = Counter()
    unknown: Counter[str] = Counter()
    for span in np.flatnonzero(is_heavy & ~in_site & (inside == NONE)).tolist():
        kind = kinds[columns.spans.name[span]]
        layer = int(tree.layer[span])
        if code is not None and code.call_of_span[span] != NONE:
            unknown[kind] += 1  # not among what its code lists
        elif layer != NONE:
            known[kind, workings.ranges.items[workings.ranges.of_span[layer]].layer] += 1
    for call, site in _sites_run(workings):
        assert code is not None
        operator = code.calls[call].graph.sites[site].operator
        layers = code.products(call, site)
        if layers is None:
            unknown[operator] += 1
        else:
            known.update((operator, layer) for layer in layers)
    return HeavyCount(known, unknown)


def _sites_run(workings: Workings) -> Iterator[tuple[int, int]]:
    """(call, call site) of everything that ran in compiled code, on the host or in a replay."""
    if workings.compiled is None:
        return
    code = workings.compiled
    for span in code.site_spans:
        yield int(code.call_of_span[span]), int(code.site_of_span[span])
    if workings.places is not None:
        replayed = zip(workings.places.call, workings.places.replayed, strict=True)
        yield from dict.fromkeys((call, site) for call, site in replayed if site != NONE)
