"""Idle time in, findings out: phases in which the device waits for the host's launches, or on itself."""

from __future__ import annotations

from dataclasses import replace

from layerscope.core.units import ms, percent, us
from layerscope.findings.evidence import Evidence, Verdict
from layerscope.findings.worth import HOST_LIMITS, LATENCY
from layerscope.records.finding import Finding, NotJudged, RestsOn, Saving
from layerscope.remedies.compile import REMEDY as COMPILE
from layerscope.remedies.cudagraphs import REMEDY as CUDAGRAPHS
from layerscope.timeline.idle import BUSY_SHARE, Idle, IdleRow, PhaseIdle

# A phase shorter than this share of the window is no finding of its own.
LEAST_WINDOW_SHARE = 0.05
LAYERS_NAMED = 3


def launch_bound(evidence: Evidence) -> Verdict:
    """A phase that waits at least half of its time for launches that the host began late.

    Of the time without the profiler, where that is known.
    """
    idle = evidence.idle
    if idle is None:
        return NotJudged(rule="launch-bound", reason="no device events in the trace")
    if _gaps_are_the_profilers(evidence):
        return ()
    return tuple(
        _finding(phase, idle, evidence)
        for phase in idle.phases
        if evidence.host_share(phase) >= HOST_LIMITS and _long_enough(phase, idle)
    )


def waits_on_the_device(evidence: Evidence) -> Verdict:
    """A phase that is idle at least half of its time for work that had been launched in time."""
    idle = evidence.idle
    if idle is None or _gaps_are_the_profilers(evidence):
        return ()
    return tuple(
        _waiting(phase, idle)
        for phase in idle.phases
        if phase.stalled_ns >= HOST_LIMITS * phase.span_ns and _long_enough(phase, idle)
    )


def retold(finding: Finding, evidence: Evidence) -> Finding:
    """A `launch-bound` finding that 0.1.0 wrote, in today's words: its trace is gone, its numbers stay.

    They were profiled, which was not said; its saving was called a bound and is none; and its advice may
    be one that the run follows.
    """
    if not finding.id.startswith("launch-bound") or "profiled, " in finding.sentence:
        return finding
    return replace(
        finding,
        sentence=finding.sentence.replace(": the device is idle", ": profiled, the device is idle"),
        try_next=_try(evidence),
        saving=replace(finding.saving, at_most=False),
    )


def _gaps_are_the_profilers(evidence: Evidence) -> bool:
    """Whether the device is busy without the profiler."""
    unprofiled = evidence.unprofiled_idle_ns
    trace = evidence.record.trace if evidence.record else None
    if trace is None or unprofiled is None:
        return False
    return unprofiled < BUSY_SHARE * (trace.unprofiled_ns or 0)


def _long_enough(phase: PhaseIdle, idle: Idle) -> bool:
    return phase.span_ns >= LEAST_WINDOW_SHARE * idle.window_ns * idle.devices


def _finding(phase: PhaseIdle, idle: Idle, evidence: Evidence) -> Finding:
    steps = [step for step in evidence.account.steps if step.phase == phase.phase]
    over = f" over {len(steps)} decoder steps" if len(steps) > 1 else ""
    launch = us(phase.wall_per_launch_ns or 0)
    before = _without_profiler(phase, evidence)
    after = "" if before else " The profiler slows the host: without it the device waits less."
    sentence = (
        f"{phase.phase} is launch-bound: {before}profiled, the device is "
        f"idle {percent(phase.idle_share or 0)} of {ms(phase.span_ns)}{over} "
        f"({ms(phase.active_ns)} busy), and {ms(phase.host_ns)} of the {ms(phase.idle_ns)} idle is "
        f"waiting for a launch that the host began late; {phase.launches:,} launches, one every "
        f"{launch}, for {_busy(phase)} of device work each."
        f"{after}"
    )
    return Finding(
        id=f"launch-bound-{phase.phase}",
        sentence=sentence,
        rests_on=(
            RestsOn(phase=phase.phase),
            *(RestsOn(layer=row.layer, phase=row.phase) for row in _longest(idle, phase.phase)),
        ),
        try_next=_try(evidence),
        saving=_saving(phase, idle, evidence),
        concerns_ns=phase.host_ns,
    )


def _waiting(phase: PhaseIdle, idle: Idle) -> Finding:
    longest = [r for r in idle.rows if r.phase == phase.phase and r.stalled_ns]
    longest.sort(key=lambda row: -row.stalled_ns)
    return Finding(
        id=f"device-waits-{phase.phase}",
        sentence=f"{phase.phase} waits on the device: profiled, it is idle "
        f"{percent(phase.idle_share or 0)} of {ms(phase.span_ns)}, {ms(phase.stalled_ns)} of that for "
        f"work that had been launched (an event, a copy, a host function, another stream or device) "
        f"and {ms(phase.late_ns)} for launches that the host began late.",
        rests_on=(
            RestsOn(phase=phase.phase),
            *(RestsOn(layer=r.layer, phase=r.phase) for r in longest[:LAYERS_NAMED]),
        ),
        try_next="look in the timeline at what ends just before the kernel after the longest gap: "
        "fewer launches would not shorten it",
        saving=Saving(saved_ns=None, basis="what the device waited for is not in a trace"),
        concerns_ns=phase.stalled_ns,
    )


def _busy(phase: PhaseIdle) -> str:
    return us(phase.active_ns / phase.launches) if phase.launches else "none"


def _try(evidence: Evidence) -> str:
    """The remedies that the run does without, and what always gives each launch more work."""
    larger = evidence.said("a larger --batch", "a larger batch")
    left = [text for text in map(evidence.advice, (CUDAGRAPHS, COMPILE)) if text]
    if not left:
        return f"{larger}: it gives each launch more work; these gaps remain under CUDA graphs"
    return f"{' or '.join(left)}, or {larger} (more work in each launch)"


def _longest(idle: Idle, phase: str) -> list[IdleRow]:
    """The layers that the device waited longest for."""
    rows = sorted((r for r in idle.rows if r.phase == phase), key=lambda r: -r.host_ns)
    return [r for r in rows if r.host_ns][:LAYERS_NAMED]


def _without_profiler(phase: PhaseIdle, evidence: Evidence) -> str:
    """The share without the profiler, which slows the host, ahead of all profiled figures."""
    waiting = evidence.unprofiled_idle_ns
    trace = evidence.record.trace if evidence.record else None
    if waiting is None or trace is None or not trace.unprofiled_ns:
        return ""
    return (
        f"without the profiler the batch took {ms(trace.unprofiled_ns)}, idle "
        f"{percent(waiting / trace.unprofiled_ns)}, and this phase waits "
        f"{percent(evidence.host_share(phase))} of its time if gaps shrink alike; "
    )


def _saving(phase: PhaseIdle, idle: Idle, evidence: Evidence) -> Saving:
    """Of the unprofiled latency if that is known: the trace's own idle has the profiler in it."""
    waiting = evidence.unprofiled_idle_ns
    trace = evidence.record.trace if evidence.record else None
    if waiting is None or trace is None or trace.unprofiled_ns is None:
        return Saving(
            saved_ns=phase.host_ns,
            whole_ns=idle.window_ns * idle.devices,
            of="profiled window",
            basis="all its waiting for late launches, with the profiler's own cost in it; an "
            "unprofiled timing of the same batch would take that out",
        )
    return Saving(
        saved_ns=round(waiting * phase.host_ns / max(idle.idle_ns, 1)),
        whole_ns=trace.unprofiled_ns,
        of=LATENCY,
        basis=f"the batch took {ms(trace.unprofiled_ns)} unprofiled and keeps the device busy "
        f"{ms(idle.active_ns)}; the rest is dealt out as the gaps of the trace are",
    )


PLACE = 10
RULES = (launch_bound, waits_on_the_device)
