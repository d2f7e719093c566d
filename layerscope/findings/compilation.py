"""Traces of compiled code in, findings out: a prefill left eager, and functions compiled again."""

from __future__ import annotations

from layerscope.core.units import ms, percent
from layerscope.core.words import counted, listed
from layerscope.findings.evidence import Evidence, Verdict
from layerscope.records.finding import Finding, NotJudged, RestsOn, Saving


def eager_prefill(evidence: Evidence) -> Verdict:
    """`generate()` compiles the later decoder steps alone: the first one runs operator by operator."""
    if evidence.idle is None:
        return NotJudged(rule="prefill-eager", reason="no device events in the trace")
    compiled = evidence.compiled_phases
    prefill = evidence.idle.phase("prefill")
    if prefill is None or "decode" not in compiled or "prefill" in compiled:
        return ()
    decode = evidence.idle.phase("decode")
    steps = sum(step.phase == "decode" for step in evidence.account.steps)
    against = ""
    if decode is not None and steps:
        against = f", against {ms(decode.span_ns / steps)} for a compiled decode step"
    return (
        Finding(
            id="prefill-eager",
            sentence=f"The first decoder step (prefill) runs eagerly while decode is compiled: "
            f"{ms(prefill.span_ns)} profiled with {prefill.launches:,} launches, "
            f"{percent(prefill.idle_share or 0)} of it idle{against}.",
            rests_on=(RestsOn(phase="prefill"), RestsOn(phase="decode")),
            try_next="compile the prefill too: generate() with a static cache compiles only the "
            "steps after the first",
            saving=Saving(
                saved_ns=prefill.host_ns,
                whole_ns=evidence.idle.window_ns * evidence.idle.devices,
                of="profiled window",
                basis="all of prefill's waiting for late launches, as profiled",
            ),
            concerns_ns=prefill.span_ns,
        ),
    )


def recompiles(evidence: Evidence) -> Verdict:
    """Functions compiled again during the run; at torch's limit it goes on uncompiled, unasked."""
    counts = evidence.recompiles
    if counts is None:
        return NotJudged(rule="recompiles", reason="recompiles were not counted in this run")
    again = {name: count for name, count in counts.items() if count > 0}
    if not again:
        return ()
    most = sorted(again.items(), key=lambda item: (-item[1], item[0]))
    limit = evidence.recompile_limit
    stopped = [name for name, count in most if count >= limit]
    sentence = (
        f"{counted(len(again), 'compiled function')} compiled again during the run: "
        + listed([f"{name} {counted(count, 'time')}" for name, count in most])
        + (
            f"; {listed(stopped)} reached torch's limit of {limit}, from where on torch runs "
            "uncompiled without saying so."
            if stopped
            else "."
        )
    )
    return (
        Finding(
            id="recompiles",
            sentence=sentence,
            rests_on=(RestsOn(source="recompiles counted during the run"),),
            try_next="a process of its own for each batch size and length, fixed input lengths, or "
            "dynamic shapes marked before compiling",
            saving=Saving(saved_ns=None, basis="the time spent compiling was not measured apart"),
        ),
    )


PLACE = 40
RULES = (eager_prefill, recompiles)
