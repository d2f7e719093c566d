"""Rows of a sweep in, figures of each phase's time against each numeric axis out."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from layerscope.core.files import FIGURES_FOLDER, LAYERS_FILE
from layerscope.core.folder_file import is_there
from layerscope.core.vocabulary import PHASES
from layerscope.records.sweep import Setting, SweepRow
from layerscope.report.csv import read_layers_csv
from layerscope.report.figures.style import (
    BLUE,
    DARK,
    GREEN,
    GREY,
    INDIGO,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    WIDTH_INCHES,
    drawing,
    save_figure,
)
from layerscope.report.sums import total_of
from layerscope.stats.sweep_tables import lines_along

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = dict(
    zip(PHASES, (BLUE, PURPLE, VERMILLION, SKY, DARK, ORANGE, GREEN, GREY), strict=True)
)
_MARKS = dict(zip(PHASES, "oPX*^sDv", strict=True))
_OTHER_COLOUR, _OTHER_MARK = INDIGO, "."
_PANELS_A_ROW = 2

PhaseTimes = dict[str, dict[str, int]]  # cell -> phase -> nanoseconds


def write_phase_figures(
    rows: Sequence[SweepRow], axes: Sequence[str], root: Path, into: Path, name: str
) -> dict[str, Path]:
    """One figure per numeric axis with two traced cells or more; role -> SVG file (a PNG beside it).

    Both scales are logarithmic, so that a phase that doubles with the axis is a straight line: device
    time, or the host window's where the sweep ran on a CPU. A phase that takes none has no line.

    Args:
        root: the sweep's folder, which the rows' folders are relative to.
        into: gets the folder of figures.

    Raises:
        DataError: a cell's table cannot be read.
    """
    device, host = phase_times(rows, root)
    files: dict[str, Path] = {}
    with drawing():
        for axis in axes:
            for times, of in ((device, "device time"), (host, "host time")):
                lines = [
                    (fixed, kept)
                    for fixed, line in lines_along(rows, axis, axes)
                    if len(kept := [row for row in line if row.cell in times]) > 1
                ]
                if not lines or not all(_on_axis(row, axis) for _, line in lines for row in line):
                    continue
                figure = _draw(axis, lines, times, f"{name}: {of} by phase against {axis}")
                saved = save_figure(figure, into / FIGURES_FOLDER, f"phases_against_{axis}")
                files[f"figure phases {axis}"] = into / FIGURES_FOLDER / saved["svg"]
                break
    return files


def phase_times(rows: Sequence[SweepRow], root: Path) -> tuple[PhaseTimes, PhaseTimes]:
    """Device and host time of the phases of the cells that have a layer table and such time at all."""
    device: PhaseTimes = {}
    host: PhaseTimes = {}
    for row in rows:
        if row.folder is None or not is_there(table := root / row.folder / LAYERS_FILE):
            continue
        kept = defaultdict(list)
        for layer in read_layers_csv(table):
            kept[layer.phase].append(layer)
        for times, of in ((device, "gpu_self_ns"), (host, "cpu_self_ns")):
            sums = {p: total_of(getattr(r, of) for r in held) or 0 for p, held in kept.items()}
            if any(sums.values()):
                times[row.cell] = sums
    return device, host


def _on_axis(row: SweepRow, axis: str) -> bool:
    value = getattr(row.config, axis)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _draw(
    axis: str,
    lines: Sequence[tuple[Mapping[str, Setting], list[SweepRow]]],
    times: PhaseTimes,
    title: str,
) -> Figure:
    from matplotlib.figure import Figure

    columns = min(_PANELS_A_ROW, len(lines))
    tall = math.ceil(len(lines) / columns)
    figure = Figure(figsize=(WIDTH_INCHES, 0.6 + 2.6 * tall), layout="constrained")
    panels = figure.subplots(tall, columns, squeeze=False, sharey=True).flatten()
    for panel, (fixed, line) in zip(panels, lines, strict=False):
        _panel(panel, axis, line, times)
        panel.set_title(" ".join(f"{key}={value}" for key, value in fixed.items()), fontsize=8)
        panel.set_xlabel(axis)
    for panel in panels[len(lines) :]:
        panel.set_visible(False)
    panels[0].set_ylabel("ms per batch")
    figure.suptitle(title, fontsize=9.5, fontweight="bold")
    named = {
        label: handle
        for panel in panels
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=4)
    return figure


def _panel(panel: Axes, axis: str, line: Sequence[SweepRow], times: PhaseTimes) -> None:
    line = sorted(line, key=lambda row: float(getattr(row.config, axis)))
    phases = dict.fromkeys(phase for row in line for phase in times[row.cell])
    for phase in sorted(phases, key=lambda p: PHASES.index(p) if p in PHASES else len(PHASES)):
        points = [
            (getattr(row.config, axis), ns / 1e6)
            for row in line
            if (ns := times[row.cell].get(phase, 0)) > 0
        ]
        if points:
            panel.plot(
                *zip(*points, strict=True), label=phase, markersize=4, linewidth=1.1,
                color=_COLOURS.get(phase, _OTHER_COLOUR), marker=_MARKS.get(phase, _OTHER_MARK),
            )  # fmt: skip
    panel.set_xscale("log")
    panel.set_yscale("log")
    ticks = sorted({getattr(row.config, axis) for row in line})
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
