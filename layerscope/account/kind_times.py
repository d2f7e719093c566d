"""Several traces of one batch in, each kind of layer's own time in every one of them out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import Literal

from layerscope.account.tally import operator_self_by_range
from layerscope.account.workings import Key, Workings
from layerscope.records.kinds import KindTimes
from layerscope.records.layer_table import LayerTable
from layerscope.trace.tree import NONE


@dataclass(frozen=True)
class TracedTimes:
    """One traced batch. Nanoseconds.

    Attributes:
        own_ns: (layer, phase), or bucket -> its own time; all of them are the whole.
        calls_ns: (layer, phase) -> own time of each call; empty where code was compiled.
        kinds: layer -> its kind, as its account has it.
    """

    measure: Literal["device", "operator"]
    own_ns: Mapping[Key, int]
    calls: Mapping[Key, int]
    calls_ns: Mapping[Key, Sequence[int]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)


def traced_times(workings: Workings, table: LayerTable) -> TracedTimes:
    """What one trace says; `table` is its account."""
    own: Counter[Key] = Counter()
    calls: Counter[Key] = Counter()
    for row in table.rows:
        time = row.gpu_self_ns if workings.has_device else row.op_self_ns
        own[row.layer, row.phase] += time or 0
        calls[row.layer, row.phase] += row.calls
    measure: Literal["device", "operator"] = "device" if workings.has_device else "operator"
    kinds = {row.layer: row.kind for row in table.rows}
    return TracedTimes(measure, own, calls, _calls_ns(workings), kinds)


def kind_times(traced: Sequence[TracedTimes]) -> tuple[KindTimes, ...]:
    """By kind and phase, in the order of the first trace's rows; what only a later one has, after.

    The sums over all kinds are the wholes of the traces, to the nanosecond.
    """
    # What the first trace says of a layer stands: its batch is the one that is reported.
    kinds = {layer: kind for one in reversed(traced) for layer, kind in one.kinds.items()}
    own: dict[Key, list[int]] = {}
    layers: defaultdict[Key, set[str]] = defaultdict(set)
    calls: Counter[Key] = Counter()
    single: defaultdict[Key, list[int]] = defaultdict(list)
    for number, one in enumerate(traced):
        for (layer, phase), time in one.own_ns.items():
            key = (kinds.get(layer, layer), phase)
            own.setdefault(key, [0] * len(traced))[number] += time
            if number == 0:
                layers[key].add(layer)
                calls[key] += one.calls[layer, phase]
        for (layer, phase), times in one.calls_ns.items():
            single[kinds.get(layer, layer), phase].extend(times)
    return tuple(
        KindTimes(
            kind=kind,
            phase=phase,
            layers=len(layers[kind, phase]),
            calls=calls[kind, phase],
            measure=traced[0].measure,
            batch_ns=tuple(times),
            call_min_ns=min(single[kind, phase], default=None),
            call_median_ns=median_low(single[kind, phase]) if single[kind, phase] else None,
            call_max_ns=max(single[kind, phase], default=None),
        )
        for (kind, phase), times in own.items()
        if any(times) or calls[kind, phase]
    )


def _calls_ns(workings: Workings) -> dict[Key, list[int]]:
    """Own time of each range; none where compiled code ran, whose layers have no ranges."""
    if workings.places is not None or workings.compiled is not None:
        return {}
    items = workings.ranges.items
    if workings.has_device:
        own = [0] * len(items)
        of_span, durations = workings.ranges.of_span, workings.columns.device.dur_ns.tolist()
        for span, duration in zip(workings.links.layer.tolist(), durations, strict=True):
            if span != NONE:
                own[of_span[span]] += duration
    else:
        own = operator_self_by_range(workings)
    found: defaultdict[Key, list[int]] = defaultdict(list)
    for item, time in zip(items, own, strict=True):
        found[item.layer, item.phase].append(time)
    return dict(found)
