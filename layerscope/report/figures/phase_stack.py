"""An account in, the figure of its phases out: one bar a phase, stacked by what its layers do."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from layerscope.core.units import ms_number
from layerscope.records.tables import Account
from layerscope.report.figures.measured import reason_without_time, time_words, total_ns
from layerscope.report.figures.style import (
    GREY,
    INK,
    ROLES,
    NotDrawn,
    at_bar_end,
    ink_on,
    legend_below,
    new_axes,
    role_handles,
    role_of,
    share_text,
    title,
)
from layerscope.report.sums import phases_of
from layerscope.work.roofline import device_ns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A segment narrower than this share of the axis has no room for its number.
LABELLED_SHARE = 0.055


def draw_phase_stack(account: Account, name: str) -> Figure | NotDrawn:
    """Phases in the order they run, buckets last; the total stands at each bar's end."""
    reason = reason_without_time(account)
    if reason:
        return NotDrawn(reason)
    table = account.table
    stacks = {phase: _stack(account, phase) for phase in phases_of(table)}
    buckets = {row.layer: device_ns(row) or 0 for row in table.rows if row.is_bucket}
    names = [*stacks, *(bucket for bucket, ns in buckets.items() if ns)]
    longest = max([*(sum(stack.values()) for stack in stacks.values()), *buckets.values()])
    figure, axes = new_axes(1.35 + 0.34 * len(names))
    whole = total_ns(table.rows)
    for at, phase in enumerate(names):
        stack = stacks.get(phase)
        if stack is None:
            axes.barh(at, buckets[phase] / 1e6, color="white", edgecolor=INK, hatch="////")
        else:
            _bar(axes, at, stack, longest)
        time = buckets[phase] if stack is None else sum(stack.values())
        at_bar_end(axes, time / 1e6, at, f"{ms_number(time)} ms  ({share_text(time, whole)})")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, longest / 1e6 * 1.22)
    axes.set_xlabel(f"{time_words(account)} (ms)")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GREY, linewidth=0.4, alpha=0.6)
    words = time_words(account)
    title(axes, f"{words[0].upper()}{words[1:]} by phase and group: {ms_number(whole)} ms", name)
    roles = {role for stack in stacks.values() for role, ns in stack.items() if ns}
    legend_below(figure, role_handles(roles), 5)
    return figure


def _stack(account: Account, phase: str) -> dict[str, int]:
    times: defaultdict[str, int] = defaultdict(int)
    for row in account.table.rows:
        if row.phase == phase and not row.is_bucket:
            times[role_of(row.group)] += device_ns(row) or 0
    return {role: times[role] for role in ROLES if role in times}


def _bar(axes: Axes, at: int, stack: dict[str, int], longest: int) -> None:
    left = 0.0
    for role, ns in stack.items():
        width, colour = ns / 1e6, ROLES[role]
        axes.barh(at, width, left=left, color=colour, edgecolor="white", linewidth=0.4)
        if ns >= LABELLED_SHARE * longest:
            axes.text(
                left + width / 2, at, ms_number(ns), ha="center", va="center",
                color=ink_on(colour), fontsize=7,
            )  # fmt: skip
        left += width
