"""Energy by layer in, the figure of its joules against its device time by kind of layer out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerscope.joules.end_to_end_energy import NANO
from layerscope.joules.energy_by_kind import KindEnergy, by_kind
from layerscope.joules.layer_energy import LayerEnergy
from layerscope.report.figures.style import (
    GREY,
    INK,
    ORANGE,
    SKY,
    NotDrawn,
    at_bar_end,
    legend_below,
    new_axes,
    title,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 16
_LONGEST_NAME = 40


def draw_energy_share(energy: LayerEnergy, name: str) -> Figure | NotDrawn:
    """Two bars a kind: its share of the joules with its 95 % interval, and of the device time."""
    from matplotlib.patches import Patch

    if energy.reason is not None or energy.end_to_end is None:
        return NotDrawn(energy.reason or "no energy by layer")
    kinds = by_kind(energy)[:MOST]
    figure, axes = new_axes(1.35 + 0.34 * len(kinds))
    whole_j = energy.end_to_end.whole_nj / NANO
    for at, kind in enumerate(kinds):
        hatch = "////" if kind.source == "apportioned" else None
        axes.barh(
            at - 0.19, 100 * kind.energy_share, height=0.36, color=ORANGE, hatch=hatch,
            edgecolor="white",
        )  # fmt: skip
        axes.barh(at + 0.19, 100 * kind.device_share, height=0.36, color=SKY, edgecolor="white")
        half = 100 * kind.half_j / whole_j if kind.half_j is not None else 0.0
        if half:
            axes.errorbar(
                100 * kind.energy_share, at - 0.19, xerr=half, color=INK, linewidth=0.8, capsize=1.6
            )
        longest = max(100 * kind.energy_share + half, 100 * kind.device_share)
        at_bar_end(axes, longest, at, _numbers(kind), size=7)
    axes.set_yticks(range(len(kinds)), [_label(kind) for kind in kinds], fontsize=6.8)
    axes.invert_yaxis()
    reach = max(100 * max(kind.energy_share, kind.device_share) for kind in kinds)
    axes.set_xlim(0, reach * 1.6)
    axes.set_xlabel("share of the batch (%)")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GREY, linewidth=0.4, alpha=0.6)
    title(axes, f"Joules against {energy.time_of} by kind of layer: {whole_j:,.2f} J a batch", name)
    handles = [
        Patch(facecolor=ORANGE, label="joules, 95 % interval"),
        Patch(facecolor=SKY, label=energy.time_of),
        Patch(facecolor=ORANGE, hatch="////", edgecolor="white", label="not replayed, apportioned"),
    ]
    legend_below(figure, handles, 3)
    return figure


def _numbers(kind: KindEnergy) -> str:
    ratio = kind.energy_over_time
    text = f"{kind.energy_j:,.3g} J"
    if ratio is not None:
        text += f", ×{ratio:.2f} of its time"
    return text if kind.replay_w is None else f"{text}, {kind.replay_w:.0f} W"


def _label(kind: KindEnergy) -> str:
    layer = kind.kind
    while len(layer) > _LONGEST_NAME and "." in layer:
        layer = layer.split(".", 1)[1]
    return layer if kind.source == "apportioned" else f"{layer}  {kind.phase}"
