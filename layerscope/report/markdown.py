"""A layer table in, Markdown tables by phase, by group and by layer out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from layerscope.records.layer_table import LayerTable
from layerscope.report.account_grids import group_grid, phase_grid, top_grid
from layerscope.report.beside_batch import beside_grid
from layerscope.report.page import Grid, printable
from layerscope.stats.beside_batch import BesideBatch

if TYPE_CHECKING:
    from layerscope.joules.layer_energy import LayerEnergy

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&!$])")


def phase_markdown(table: LayerTable) -> str:
    """Self times by phase with their sum."""
    return _table(phase_grid(table))


def beside_markdown(rows: Sequence[BesideBatch]) -> str:
    """What the host does before each batch, outside the account."""
    return _table(beside_grid(rows))


def group_markdown(table: LayerTable) -> str:
    """Self times by group with their sum, largest first."""
    return _table(group_grid(table))


def top_markdown(table: LayerTable, top: int) -> str:
    """The `top` kinds of layers with the most self time, one row per (kind, phase)."""
    return _table(top_grid(table, top))


def energy_markdown(found: LayerEnergy) -> str:
    """Joules by kind of layer beside the share of the device time."""
    from layerscope.report.layer_energy import kind_grid  # needs numpy, which the others do not

    return _table(kind_grid(found))


def escape(text: str) -> str:
    """The text as Markdown shows it literally, on one line and inside a table cell."""
    return _SPECIAL.sub(r"\\\1", printable(text))


def _table(grid: Grid) -> str:
    left = [index == 0 or name in grid.text for index, name in enumerate(grid.header)]
    lines = [
        _line(grid.header),
        "|" + "|".join("---" if is_left else "---:" for is_left in left) + "|",
    ]
    lines += [_line([escape(cell) for cell in row]) for row in grid.rows]
    if grid.footer is not None:
        lines.append(_line([f"**{cell}**" if cell else "" for cell in grid.footer]))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
