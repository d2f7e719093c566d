"""Rows of a sweep in, figures of each metric against each axis with intervals out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from layerscope.core.files import FIGURES_FOLDER
from layerscope.records.sweep import Estimate, Setting, SweepRow
from layerscope.report.figures.style import (
    BLUE,
    DARK,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    WIDTH_INCHES,
    drawing,
    save_figure,
)
from layerscope.stats.sweep_tables import lines_along

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, DARK)
_MARKS = ("o", "s", "^", "D", "v", "P", "X")
_METRICS = (
    ("latency_s", "latency, s per batch"),
    ("energy_j", "energy, J per sample"),
    ("wer", "corpus WER"),
)


def write_sweep_figures(
    rows: Sequence[SweepRow], axes: Sequence[str], root: Path, name: str
) -> dict[str, Path]:
    """One figure per axis with at least two measured values; role -> SVG file (a PNG beside it).

    A metric that no cell has is left out of its figure; an axis without any metric has no figure.
    """
    files: dict[str, Path] = {}
    with drawing():
        for axis in axes:
            lines = lines_along(rows, axis, axes)
            figure = _draw(axis, lines, name)
            if figure is None:
                continue
            saved = save_figure(figure, root / FIGURES_FOLDER, f"against_{axis}")
            files[f"figure {axis}"] = root / FIGURES_FOLDER / saved["svg"]
    return files


def _draw(
    axis: str, lines: Sequence[tuple[dict[str, Setting], list[SweepRow]]], name: str
) -> Figure | None:
    from matplotlib.figure import Figure

    shown = [
        (field, label)
        for field, label in _METRICS
        if any(_estimate(row, field).value is not None for _, line in lines for row in line)
    ]
    if not shown:
        return None
    figure = Figure(figsize=(WIDTH_INCHES, 2.6 + 0.16 * len(lines)), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for panel, (field, label) in zip(panels, shown, strict=True):
        for number, (fixed, line) in enumerate(lines):
            _line(panel, axis, line, field, number, _words(fixed))
        ticks = {getattr(row.config, axis) for _, line in lines for row in line}
        if all(isinstance(tick, int) and not isinstance(tick, bool) for tick in ticks):
            panel.set_xticks(sorted(ticks))
        panel.set_xlabel(axis)
        panel.set_ylabel(label)
        panel.set_ylim(bottom=0)
    figure.suptitle(
        f"{name}: against {axis}, intervals (95 %; latency from 24 batches on)",
        fontsize=9.5,
        fontweight="bold",
    )
    handles, labels = panels[0].get_legend_handles_labels()
    if any(labels):
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _line(
    panel: Axes, axis: str, line: Sequence[SweepRow], field: str, number: int, label: str
) -> None:
    points = [row for row in line if _estimate(row, field).value is not None]
    if not points:
        return
    values = [getattr(row.config, axis) for row in points]
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    order = sorted(range(len(points)), key=lambda i: values[i]) if numeric else range(len(points))
    x = [values[i] if numeric else str(values[i]) for i in order]
    estimates = [_estimate(points[i], field) for i in order]
    y = [e.value or 0.0 for e in estimates]
    reach = [_reach(estimate) for estimate in estimates]
    panel.errorbar(
        x, y, yerr=[[low for low, _ in reach], [high for _, high in reach]], label=label,
        color=_COLOURS[number % len(_COLOURS)], marker=_MARKS[number % len(_MARKS)], markersize=4,
        linewidth=1.1, capsize=2.5,
    )  # fmt: skip


def _reach(estimate: Estimate) -> tuple[float, float]:
    """How far the interval reaches below and above the value; nothing without one."""
    if estimate.value is None or estimate.interval is None:
        return 0.0, 0.0
    low, high = estimate.interval.low, estimate.interval.high
    return max(0.0, estimate.value - low), max(0.0, high - estimate.value)


def _words(fixed: dict[str, Setting]) -> str:
    return " ".join(f"{key}={value}" for key, value in fixed.items())


def _estimate(row: SweepRow, field: str) -> Estimate:
    found: Estimate = getattr(row, field)
    return found
