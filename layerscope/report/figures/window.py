"""Idle time in, the figure of the window out: in each phase, device busy or waiting, and for what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerscope.core.units import ms_number
from layerscope.report.figures.style import (
    BLUE,
    DARK,
    GREY,
    ORANGE,
    NotDrawn,
    at_bar_end,
    legend_below,
    new_axes,
    share_text,
    title,
)
from layerscope.timeline.idle import Idle, PhaseIdle

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Colour, hatch and meaning of each part of a bar, in `_parts`' order.
PARTS = (
    (BLUE, "", "device busy"),
    (ORANGE, "", "idle: the host launched late"),
    (GREY, "", "idle: launched in time, not yet started"),
    ("white", "/////", "idle: no launch known"),
)


def draw_window(idle: Idle | None, name: str) -> Figure | NotDrawn:
    """One bar a phase: its part of the profiled window, split into busy and the kinds of waiting."""
    from matplotlib.patches import Patch

    if idle is None:
        return NotDrawn("no device events in the trace: when the device was idle is unknown")
    longest = max(phase.span_ns for phase in idle.phases)
    figure, axes = new_axes(1.35 + 0.34 * len(idle.phases))
    for at, phase in enumerate(idle.phases):
        left = 0.0
        for (colour, hatch, _), ns in zip(PARTS, _parts(phase), strict=True):
            if ns:  # an empty bar would still draw its edge
                axes.barh(
                    at, ns / 1e6, left=left, color=colour, hatch=hatch, linewidth=0.4,
                    edgecolor=DARK if hatch else "white",
                )  # fmt: skip
            left += ns / 1e6
        at_bar_end(axes, left, at, _said(phase))
    axes.set_yticks(range(len(idle.phases)), [phase.phase for phase in idle.phases])
    axes.invert_yaxis()
    axes.set_xlim(0, longest / 1e6 * 1.3)
    devices = "" if idle.devices == 1 else f", {idle.devices} devices added up"
    axes.set_xlabel(f"time in the profiled window (ms; the profiler slows the host{devices})")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GREY, linewidth=0.4, alpha=0.6)
    span = idle.window_ns * idle.devices
    title(
        axes,
        f"Device busy {ms_number(idle.active_ns)} of {ms_number(span)} ms: "
        f"idle {share_text(idle.idle_ns, span)}",
        name,
    )
    seen = [any(times) for times in zip(*map(_parts, idle.phases), strict=True)]
    handles = [
        Patch(facecolor=colour, hatch=hatch, label=label, edgecolor=DARK if hatch else "white")
        for (colour, hatch, label), occurs in zip(PARTS, seen, strict=True)
        if occurs
    ]
    legend_below(figure, handles, 2)
    return figure


def _parts(phase: PhaseIdle) -> tuple[int, int, int, int]:
    return phase.active_ns, phase.host_ns, phase.queue_ns, phase.unknown_ns


def _said(phase: PhaseIdle) -> str:
    return f"{ms_number(phase.span_ns)} ms, idle {share_text(phase.idle_ns, phase.span_ns)}"
