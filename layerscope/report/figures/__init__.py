"""An account in, print-ready figures out (SVG and PNG), and the reason for each that is not drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerscope.core.files import FIGURES_FOLDER
from layerscope.joules.layer_energy import LayerEnergy
from layerscope.records.tables import Account
from layerscope.records.work import Ceilings
from layerscope.report.figures.energy_share import draw_energy_share
from layerscope.report.figures.phase_stack import draw_phase_stack
from layerscope.report.figures.roofline_scatter import draw_roofline
from layerscope.report.figures.style import NotDrawn, drawing, save_figure
from layerscope.report.figures.top_layers import draw_top_layers
from layerscope.report.figures.window import draw_window
from layerscope.timeline.idle import Idle

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Figures", "write_figures"]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was written and what was not.

    Attributes:
        files: role, e.g. "figure_phases_svg" -> path relative to the run folder.
        absent: figure -> why it was not drawn.
    """

    files: dict[str, str]
    absent: dict[str, str]


def write_figures(
    account: Account,
    folder: Path,
    *,
    idle: Idle | None = None,
    ceilings: Ceilings | None = None,
    name: str = "",
    layer_energy: LayerEnergy | None = None,
) -> Figures:
    """Draw what was measured into `folder/figures/`.

    Args:
        folder: the run folder.
        ceilings: the device's measured rates; without them no roofline is drawn.
        layer_energy: of replayed layers; without it nobody asked for that figure.
        name: of the run, as the second line of each title.
    """
    figures: dict[str, Callable[[], Figure | NotDrawn]] = {
        "phases": lambda: draw_phase_stack(account, name),
        "window": lambda: draw_window(idle, name),
        "roofline": lambda: draw_roofline(account, ceilings, name),
        "top_layers": lambda: draw_top_layers(account, name),
    }
    if layer_energy is not None:
        energy = layer_energy
        figures["energy"] = lambda: draw_energy_share(energy, name)
    files: dict[str, str] = {}
    absent: dict[str, str] = {}
    with drawing():
        for figure, draw in figures.items():
            drawn = draw()
            if isinstance(drawn, NotDrawn):
                absent[figure] = drawn.reason
                continue
            for kind, file in save_figure(drawn, folder / FIGURES_FOLDER, figure).items():
                files[f"figure_{figure}_{kind}"] = f"{FIGURES_FOLDER}/{file}"
    return Figures(files=files, absent=absent)
