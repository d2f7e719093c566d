"""Convolution layers in, one finding out: their device, host and first-call time, kept apart."""

from __future__ import annotations

from collections.abc import Mapping

from layerscope.core.units import ms, percent
from layerscope.core.words import listed
from layerscope.findings.evidence import Evidence, Verdict
from layerscope.records.finding import Finding, RestsOn, Saving
from layerscope.records.layer_table import LayerRow
from layerscope.work.roofline import sum_ns

MILLISECOND_NS = 1_000_000


def convolutions(evidence: Evidence) -> Verdict:
    """What the convolutions cost, and which of the three figures reaches a millisecond.

    A profile without warm-up shows the first call, which loads libraries and chooses algorithms.
    """
    rows = [r for r in evidence.rows if r.group == "vision.conv" or r.module.startswith("Conv")]
    calls = sum(row.calls for row in rows)
    if not calls:
        return ()
    time, host = sum_ns(rows), sum(row.cpu_self_ns or 0 for row in rows)
    share = time / evidence.whole_ns if evidence.whole_ns else 0.0
    layers = list(dict.fromkeys(row.layer for row in rows))
    first = _first_call_ns(layers, evidence.first_call_us)
    name = layers[0] if len(layers) == 1 else f"{len(layers)} convolutions"
    said = "not measured here" if first is None else f"{ms(first)} on the host"
    figures = {evidence.time_of: time}
    # Inside compiled code a layer launches nothing itself: 0 would say that it costs the host nothing.
    spent = "no host time of its own (compiled)"
    if host:
        spent, figures["profiled host time"] = f"{ms(host)} of profiled host time", host
    if first is not None:
        figures["first call"] = first
    return (
        Finding(
            id="convolutions",
            sentence=f"Convolution ({name}, {calls} {'call' if calls == 1 else 'calls'}): "
            f"{ms(time)} of {evidence.time_of} ({percent(share)} of it all), {spent}; "
            f"its first call: {said}. {_reaches(figures)}",
            rests_on=_rests_on(rows),
            try_next=_try(evidence, first),
            saving=Saving(
                saved_ns=time,
                at_most=True,
                by_phase=_by_phase(rows),
                whole_ns=evidence.whole_ns,
                of=evidence.time_of,
                basis="all of its own time: there is no more to gain from it",
            ),
            concerns_ns=time,
        ),
    )


def _try(evidence: Evidence, first_ns: int | None) -> str:
    """A warm-up, unless the run had one."""
    config = evidence.record.config if evidence.record is not None else None
    if first_ns is None or first_ns < MILLISECOND_NS or (config is not None and config.warmup):
        return ""
    how = evidence.said(" (--warmup)", "")
    return f"warm up before measuring{how}: the first call loads libraries and chooses an algorithm once"


def _by_phase(rows: list[LayerRow]) -> dict[str, int]:
    phases = dict.fromkeys((row.phase for row in rows), 0)
    for row in rows:
        phases[row.phase] += sum_ns([row])
    return phases


def _first_call_ns(layers: list[str], first_call_us: Mapping[str, float] | None) -> int | None:
    """Host time of these layers' first calls; None unless it is known for each of them."""
    if first_call_us is None or any(layer not in first_call_us for layer in layers):
        return None
    return round(sum(first_call_us[layer] for layer in layers) * 1000)


def _reaches(figures: Mapping[str, int]) -> str:
    reach = [name for name, ns in figures.items() if ns >= MILLISECOND_NS]
    if not reach:
        return "None of these reaches a millisecond."
    if len(reach) == len(figures):
        return "Each of these reaches milliseconds."
    return f"Only the {listed(reach)} {'reaches' if len(reach) == 1 else 'reach'} milliseconds."


def _rests_on(rows: list[LayerRow]) -> tuple[RestsOn, ...]:
    return tuple(RestsOn(layer=row.layer, phase=row.phase) for row in rows)


PLACE = 80
RULES = (convolutions,)
