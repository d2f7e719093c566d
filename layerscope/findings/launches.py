"""Idle time in, a finding out for each phase in which the device waits for the host's launches."""

from __future__ import annotations

from layerscope.core.units import ms, percent, us
from layerscope.findings.evidence import Evidence, Verdict
from layerscope.records.finding import Finding, NotJudged, RestsOn, Saving
from layerscope.remedies.compile import REMEDY as COMPILE
from layerscope.remedies.cudagraphs import REMEDY as CUDAGRAPHS
from layerscope.timeline.idle import BUSY_SHARE, Idle, IdleRow, PhaseIdle

# A phase shorter than this share of the window is no finding of its own.
LEAST_WINDOW_SHARE = 0.05
LAYERS_NAMED = 3


def launch_bound(evidence: Evidence) -> Verdict:
    """A phase that waits for late launches at least half of its time (`PhaseIdle.verdict`)."""
    idle = evidence.idle
    if idle is None:
        return NotJudged(rule="launch-bound", reason="no device events in the trace")
    unprofiled = evidence.unprofiled_idle_ns
    trace = evidence.record.trace if evidence.record else None
    if trace and unprofiled is not None and unprofiled < BUSY_SHARE * (trace.unprofiled_ns or 0):
        return ()  # the gaps are the profiler's own: without it the device is busy
    return tuple(
        _finding(phase, idle, evidence)
        for phase in idle.phases
        if phase.verdict == "launch-bound"
        and phase.span_ns >= LEAST_WINDOW_SHARE * idle.window_ns * idle.devices
    )


def _finding(phase: PhaseIdle, idle: Idle, evidence: Evidence) -> Finding:
    steps = [step for step in evidence.account.steps if step.phase == phase.phase]
    over = f" over {len(steps)} decoder steps" if len(steps) > 1 else ""
    launch = us(phase.wall_per_launch_ns or 0)
    sentence = (
        f"{phase.phase} is launch-bound: the device is idle {percent(phase.idle_share or 0)} of "
        f"{ms(phase.span_ns)}{over} ({ms(phase.active_ns)} busy), and {ms(phase.host_ns)} of the "
        f"{ms(phase.idle_ns)} idle is waiting for a launch that the host began late; "
        f"{phase.launches:,} launches, one every {launch}, for {_busy(phase)} of device work each. "
        f"{_without_profiler(evidence)}"
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


def _busy(phase: PhaseIdle) -> str:
    return us(phase.active_ns / phase.launches) if phase.launches else "none"


def _try(evidence: Evidence) -> str:
    if CUDAGRAPHS.name in evidence.optimizations:
        return "a larger --batch: it gives each launch more work; the gaps remain under CUDA graphs"
    graphs = f"{CUDAGRAPHS.option} ({CUDAGRAPHS.does})"
    if COMPILE.name in evidence.optimizations:
        return f"{graphs}, or a larger --batch"
    return (
        f"{graphs} or {COMPILE.name} ({COMPILE.does}), or a larger --batch (more work in each "
        "launch)"
    )


def _longest(idle: Idle, phase: str) -> list[IdleRow]:
    """The layers that the device waited longest for."""
    return [r for r in idle.rows if r.phase == phase and r.host_ns][:LAYERS_NAMED]


def _without_profiler(evidence: Evidence) -> str:
    waiting = evidence.unprofiled_idle_ns
    trace = evidence.record.trace if evidence.record else None
    if waiting is None or trace is None or not trace.unprofiled_ns:
        return "These are profiled times: the profiler slows the host."
    return (
        f"Without the profiler the batch took {ms(trace.unprofiled_ns)}: idle "
        f"{percent(waiting / trace.unprofiled_ns)}."
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
        of="latency",
        basis=f"the batch took {ms(trace.unprofiled_ns)} unprofiled and keeps the device busy "
        f"{ms(idle.active_ns)}; the rest is dealt out as the gaps of the trace are",
    )


PLACE = 10
RULES = (launch_bound,)
