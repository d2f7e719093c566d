"""An account in, the figure of its most expensive layers out, each layer of a stack taken together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerscope.core.units import ms_number
from layerscope.records.tables import Account
from layerscope.report.figures.measured import reason_without_time, time_words, total_ns
from layerscope.report.figures.style import (
    GREY,
    ROLES,
    NotDrawn,
    at_bar_end,
    legend_below,
    new_axes,
    role_handles,
    role_of,
    share_text,
    title,
)
from layerscope.report.kinds import Kind, kinds_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 15
LONGEST_NAME = 44


def draw_top_layers(account: Account, name: str) -> Figure | NotDrawn:
    """The `MOST` largest own times by (layer, phase); `*` stands for equal blocks of a stack."""
    reason = reason_without_time(account)
    if reason:
        return NotDrawn(reason)
    rows = [row for row in account.table.rows if not row.is_bucket]
    families = [(kind, total_ns(kind.members)) for kind in kinds_in(rows)]
    families = [item for item in families if item[1]]
    top = sorted(families, key=lambda item: -item[1])[:MOST]
    whole, shown = total_ns(account.table.rows), sum(time for _, time in top)
    figure, axes = new_axes(1.25 + 0.235 * len(top))
    roles = []
    for at, (kind, time) in enumerate(top):
        role = role_of(kind.members[0].group)
        roles.append(role)
        axes.barh(at, time / 1e6, color=ROLES[role], height=0.72)
        text = f"{ms_number(time)} ms  ({share_text(time, whole)})"
        at_bar_end(axes, time / 1e6, at, text, size=7)
    labels = [_label(kind) for kind, _ in top]
    axes.set_yticks(range(len(top)), labels, fontsize=6.8)
    axes.invert_yaxis()
    axes.set_xlim(0, top[0][1] / 1e6 * 1.38)
    axes.set_xlabel(f"own {time_words(account)} (ms), blocks of a stack added up")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GREY, linewidth=0.4, alpha=0.6)
    title(
        axes,
        f"Top {len(top)} of {len(families)} kinds of layers by own time: {ms_number(shown)} of "
        f"{ms_number(whole)} ms of {time_words(account)}",
        name,
    )
    legend_below(figure, role_handles(roles), len(ROLES))
    return figure


def _label(kind: Kind) -> str:
    """The layer's name from the right, cut between two names where it is too long."""
    layer, phase, members = kind.row.layer, kind.row.phase, kind.members
    short = layer
    while len(short) > LONGEST_NAME and "." in short:
        short = short.partition(".")[2]
    cut = "" if short == layer else "…"
    times = f" ×{len(members)}" if len(members) > 1 else ""
    return f"{cut}{short}{times}  [{phase}]"
