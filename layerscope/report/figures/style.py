"""What all figures share: colours that colour-blind readers tell apart, sizes, and byte-equal files.

The palette is Okabe and Ito's. A colour says what a layer does; the phase says in which tower.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerscope.core.errors import EnvironmentProblem
from layerscope.core.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

WIDTH_INCHES = 7.2  # a page's text width
PNG_DPI = 200

BLUE, SKY, ORANGE, GREEN = "#0072B2", "#56B4E9", "#E69F00", "#009E73"
VERMILLION, PURPLE, YELLOW = "#D55E00", "#CC79A7", "#F0E442"
INDIGO = "#332288"
DARK, GREY, PALE, INK = "#4D4D4D", "#B8B8B8", "#E6E6E6", "#222222"

# What a layer does -> its colour, in the order in which bars stack and legends list.
ROLES = {
    "convolution": VERMILLION,
    "self-attention": BLUE,
    "cross-attention": SKY,
    "mixer": INDIGO,
    "feed-forward": ORANGE,
    "norm": GREEN,
    "projection": PURPLE,
    "lm_head": YELLOW,
    "embedding": DARK,
    "other": GREY,
}
_ROLE_OF = {
    "vision.conv": "convolution",
    "vision.attention": "self-attention",
    "vision.mlp": "feed-forward",
    "vision.norm": "norm",
    "audio.conv": "convolution",
    "audio.attention": "self-attention",
    "audio.mlp": "feed-forward",
    "audio.norm": "norm",
    "qformer.self_attention": "self-attention",
    "qformer.cross_attention": "cross-attention",
    "qformer.ffn": "feed-forward",
    "encoder.attention": "self-attention",
    "encoder.cross_attention": "cross-attention",
    "encoder.mixer": "mixer",
    "encoder.ffn": "feed-forward",
    "decoder.self_attention": "self-attention",
    "decoder.cross_attention": "cross-attention",
    "decoder.mixer": "mixer",
    "decoder.ffn": "feed-forward",
}

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib: the same glyphs on every machine
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "layerscope",
}


@dataclass(frozen=True, slots=True)
class NotDrawn:
    """A figure whose data were not measured."""

    reason: str


@contextmanager
def drawing() -> Iterator[None]:
    """The settings of all figures, from the first line drawn to the file written."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's own matplotlibrc would change the files
        matplotlib.rcParams.update(_RC)
        yield


def new_axes(height_inches: float) -> tuple[Figure, Axes]:
    """A figure of the page's width with one pair of axes. No pyplot: nothing global is opened."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    return figure, figure.subplots()


def save_figure(figure: Figure, folder: Path, name: str) -> dict[str, str]:
    """Write `<name>.svg` and `<name>.png`; the same figure gives the same bytes.

    Returns:
        "svg" and "png" -> file name.

    Raises:
        EnvironmentProblem: a file cannot be written.
    """
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    _lay_out(figure)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(svg) as partial:
            figure.savefig(partial, metadata={"Date": None, "Creator": "layerscope"})
        with whole_file(png) as partial:
            figure.savefig(partial, dpi=PNG_DPI, metadata={"Software": "layerscope"})
    except OSError as error:
        raise EnvironmentProblem(
            f"{folder / name}: cannot draw the figure there ({error.strerror or error})."
        ) from None
    return {"svg": f"{name}.svg", "png": f"{name}.png"}


def _lay_out(figure: Figure) -> None:
    """Find the places of all parts once; each file would find them anew, and draw all for it."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)  # as the settings have it: none


def title(axes: Axes, what: str, run: str) -> None:
    """What is shown, and of which run beneath it in small, from the page's left edge."""
    axes.set_title(" ", pad=26 if run else 14)  # keeps the room; the layout ignores annotations
    lines = [(what, 21 if run else 9, 9.5, "bold", INK), (run, 7, 7.5, "normal", DARK)]
    for text, above, size, weight, colour in lines:
        said = axes.annotate(
            text, (0.01, 1), xytext=(0, above), xycoords=("figure fraction", "axes fraction"),
            textcoords="offset points", fontsize=size, fontweight=weight, color=colour,
        )  # fmt: skip
        said.set_in_layout(False)


def at_bar_end(axes: Axes, x: float, y: float, text: str, size: float = 8.0) -> None:
    """A bar's numbers right of its end, on white so that no grid line crosses them."""
    axes.annotate(
        text, (x, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=size,
        color=INK, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
    )  # fmt: skip


def role_of(group: str) -> str:
    """What a group's layers do."""
    return _ROLE_OF.get(group, group if group in ROLES else "other")


def role_handles(roles: Iterable[str]) -> list[Patch]:
    """Legend entries of the roles that occur, in their fixed order."""
    from matplotlib.patches import Patch

    seen = set(roles)
    return [
        Patch(facecolor=colour, edgecolor="white", label=role)
        for role, colour in ROLES.items()
        if role in seen
    ]


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """One legend under the axes, with room of its own."""
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, columnspacing=1.6,
        handlelength=1.2,
    )  # fmt: skip


def ink_on(colour: str) -> str:
    """Black or white, whichever reads better on a colour (relative luminance, WCAG)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def share_text(part: float, whole: float) -> str:
    """A share of the whole: 46.7 %, 0.12 %, below 0.01 %."""
    share = 100 * part / whole if whole else 0.0
    if 0 < share < 0.01:
        return "< 0.01 %"
    return f"{share:.1f} %" if share >= 1 else f"{share:.2f} %"
