"""An account with counted work and ceilings in, the roofline figure out: intensity against rate.

Each point is one layer of a phase, the blocks of a stack taken together; its area follows its
time. A point above the slope read bytes from the L2 cache, faster than a device copy moves them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerscope.core.units import ms_number
from layerscope.records.tables import Account
from layerscope.records.work import Ceilings
from layerscope.report.figures.measured import time_words, total_ns
from layerscope.report.figures.style import (
    DARK,
    GREY,
    INK,
    ROLES,
    NotDrawn,
    legend_below,
    new_axes,
    role_handles,
    role_of,
    share_text,
    title,
)
from layerscope.report.kinds import kinds_in
from layerscope.work.roofline import device_ns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST_AREA, SMALLEST_AREA = 260.0, 6.0
# The largest points are named, as many as stay readable.
NAMED = 6
NAMED_SHARE = 0.02
# How the ceilings' lines are told apart without colour.
DASHES = {"float16": "-", "bfloat16": "-", "tf32": "--", "float32": ":", "float64": "-."}
SHORT = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "tf32": "TF32"}
MARKERS = {"vision": "o", "qformer": "D", "encoder": "s", "prefill": "^", "decode": "v"}


@dataclass(frozen=True, slots=True)
class Point:
    """The same layer of every block, in one phase."""

    layer: str
    phase: str
    role: str
    time_ns: int
    intensity: float  # FLOP per byte
    tflops_per_s: float


def draw_roofline(account: Account, ceilings: Ceilings | None, name: str) -> Figure | NotDrawn:
    """Layers that computed, under the rates that the device itself reached."""
    if ceilings is None:
        return NotDrawn("no ceilings: the device's matmul and copy rates were not measured")
    points = points_of(account)
    if not points:
        return NotDrawn("no layer has counted FLOPs and bytes and a measured time")
    figure, axes = new_axes(4.4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _limits(axes, points, ceilings)
    _ceilings(axes, ceilings)
    largest = points[0].time_ns
    for point in points:
        axes.scatter(
            point.intensity, point.tflops_per_s, color=ROLES[point.role], alpha=0.85,
            s=SMALLEST_AREA + LARGEST_AREA * point.time_ns / largest,
            marker=MARKERS.get(point.phase, "o"), edgecolors=INK, linewidths=0.4, zorder=3,
        )  # fmt: skip
    _names(axes, points)
    axes.set_xlabel("intensity (FLOP per byte of operator traffic)")
    axes.set_ylabel("achieved rate (TFLOP/s)")
    axes.grid(color=GREY, linewidth=0.3, alpha=0.5)
    whole, shown = total_ns(account.table.rows), sum(point.time_ns for point in points)
    title(
        axes,
        f"Roofline of the {len(points):,} kinds of layers with FLOPs: {ms_number(shown)} of "
        f"{ms_number(whole)} ms ({share_text(shown, whole)}) of {time_words(account)}",
        name,
    )
    _legend(figure, points)
    return figure


def points_of(account: Account) -> list[Point]:
    """Every kind of layers with FLOPs, bytes and time, largest time first."""
    rows = [
        row
        for row in account.table.rows
        if not row.is_bucket and row.flops_self and row.bytes_self and device_ns(row)
    ]
    points = []
    for kind in kinds_in(rows):
        layer, phase, members = kind.row.layer, kind.row.phase, kind.members
        flops = sum(row.flops_self or 0 for row in members)  # rows of unknown FLOPs are left out
        time = total_ns(members)
        intensity = flops / sum(row.bytes_self or 0 for row in members)
        role = role_of(members[0].group)
        points.append(Point(layer, phase, role, time, intensity, flops / time / 1e3))
    return sorted(points, key=lambda point: (-point.time_ns, point.layer, point.phase))


def _limits(axes: Axes, points: list[Point], ceilings: Ceilings) -> None:
    rates = ceilings.matmul_flops_per_s.values()
    ridge = max(rates, default=0.0) / ceilings.copy_bytes_per_s
    intensities = [point.intensity for point in points]
    achieved = [point.tflops_per_s for point in points]
    axes.set_xlim(min(intensities) / 2, max(*intensities, ridge * 3) * 2)
    axes.set_ylim(min(achieved) / 2, max([*achieved, *(rate / 1e12 for rate in rates)]) * 2.2)


def _ceilings(axes: Axes, ceilings: Ceilings) -> None:
    """A line per dtype, flat from its ridge on, and the copy rate's slope up to the highest."""
    copy = ceilings.copy_bytes_per_s
    left, right = axes.get_xlim()
    rates = sorted(ceilings.matmul_flops_per_s.items(), key=lambda item: -item[1])
    ridge = rates[0][1] / copy if rates else right
    axes.plot([left, ridge], [left * copy / 1e12, ridge * copy / 1e12], color=INK, linewidth=1.1)
    anchor = math.sqrt(left * ridge)
    height = anchor * copy / 1e12
    axes.text(
        anchor, height * 1.12, f"device copy {copy / 1e12:.2f} TB/s", fontsize=7, color=INK,
        rotation=math.degrees(math.atan2(height, anchor)), rotation_mode="anchor",
        transform_rotates_text=True, ha="center", va="bottom",
    )  # fmt: skip
    for dtype, rate in rates:
        axes.plot(
            [rate / copy, right], [rate / 1e12] * 2, color=INK, linewidth=1.1,
            linestyle=DASHES.get(dtype, "-"), zorder=1,
        )  # fmt: skip
    for dtypes, rate in _close_together(rates):
        # Outside the axes, where no point can lie under it.
        axes.annotate(
            f"{dtypes} matmul {rate / 1e12:,.3g}", (right, rate / 1e12), xytext=(4, 0),
            textcoords="offset points", ha="left", va="center", fontsize=7, color=INK,
            annotation_clip=False,
        )  # fmt: skip


def _close_together(rates: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Rates within a quarter of each other share one label, written at the highest."""
    labels: list[tuple[str, float]] = []
    for dtype, rate in [(SHORT.get(dtype, dtype), rate) for dtype, rate in rates]:
        if labels and rate > 0.75 * labels[-1][1]:
            labels[-1] = (f"{labels[-1][0]}, {dtype}", labels[-1][1])
        else:
            labels.append((dtype, rate))
    return labels


def _names(axes: Axes, points: list[Point]) -> None:
    """Names below the largest points; a point close to a named one stays without."""
    placed: list[Point] = []
    whole = sum(point.time_ns for point in points)
    for point in points:
        near = any(
            abs(math.log10(point.intensity / other.intensity)) < 0.3
            and abs(math.log10(point.tflops_per_s / other.tflops_per_s)) < 0.12
            for other in placed
        )
        small = point.time_ns < NAMED_SHARE * whole
        if near or small or len(placed) == NAMED:
            continue
        placed.append(point)
        radius = math.sqrt(SMALLEST_AREA + LARGEST_AREA * point.time_ns / points[0].time_ns) / 2
        axes.annotate(
            f"{point.layer.rpartition('.')[2]} {ms_number(point.time_ns)} ms",
            (point.intensity, point.tflops_per_s), xytext=(0, -radius - 2),
            textcoords="offset points", ha="center", va="top", fontsize=6.8, color=INK, zorder=2.5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
        )  # fmt: skip


def _legend(figure: Figure, points: list[Point]) -> None:
    from matplotlib.lines import Line2D

    shapes = [
        Line2D([], [], marker=MARKERS.get(phase, "o"), linestyle="", color=DARK, label=phase,
               markersize=4.5)
        for phase in dict.fromkeys(point.phase for point in points)
    ]  # fmt: skip
    area = Line2D([], [], linestyle="", label="area: time")
    handles = [*role_handles(point.role for point in points), *shapes, area]
    legend_below(figure, handles, 5)
