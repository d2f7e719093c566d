"""Rows of a sweep in, the grids that the screen and the Markdown file show out."""

from __future__ import annotations

from collections.abc import Sequence

from layerscope.core.units import prefixed
from layerscope.differences.unlike_nodes import neighboured, unlike
from layerscope.records.sweep import Estimate, SweepRow
from layerscope.report.page import Grid
from layerscope.stats.sweep_tables import (
    SCALED_AXES,
    Exponent,
    equal_work,
    lines_along,
    sizes_without_effect,
)

BRACKETS = (
    "brackets are 95 % intervals: of the mean (energy), of the corpus WER, and of the median latency "
    "from 24 batches on; * stands where fewer were timed, which cannot show how alike neighbours "
    "are: those brackets are as if batches were independent, and claim no coverage"
)
_ABSENT = "–"
_DIGITS = 4


def sweep_grid(rows: Sequence[SweepRow], axes: Sequence[str], title: str = "cells") -> Grid:
    """One line per cell: its axes, its four numbers with intervals, how it ended."""
    header = ("cell", "wer", "latency s/batch", "energy J/sample", "flops/batch", "seen", "status")
    return Grid(
        title=title,
        header=header,
        rows=tuple(
            (
                name_of(row, axes),
                estimate_text(row.wer),
                estimate_text(row.latency_s),
                estimate_text(row.energy_j),
                _ABSENT if row.flops is None else flops_text(row.flops),
                _seen(row),
                row.status,
            )
            for row in rows
        ),
        text=frozenset({"seen", "status"}),
    )


# Stands where a fit misses a point by so much that its exponent would say nothing.
NO_POWER_LAW = "no power law"


def exponent_grid(found: Sequence[Exponent], groups: int = 6) -> Grid:
    """Scaling exponents of latency and of the largest groups, per line of cells."""
    lines = []
    shown: dict[tuple[str, str], int] = {}
    for item in found:
        fixed = " ".join(f"{key}={value}" for key, value in item.fixed.items())
        count = shown.get((item.axis, fixed), 0)
        if count > groups:
            continue
        shown[item.axis, fixed] = count + 1
        # Two points lie on every line: their fit says nothing of how well a power law holds.
        off = _ABSENT if item.points < 3 else f"{item.residual:.0%}"
        slope = f"{item.exponent:.2f}" if item.holds else NO_POWER_LAW
        lines.append((f"{item.axis} {fixed}".strip(), item.of, slope, str(item.points), off))
    return Grid(
        title="scaling exponents: 1 doubles with the axis, 0 does not notice it",
        header=("along", "time of", "exponent", "cells", "largest miss"),
        rows=tuple(lines),
        text=frozenset({"time of"}),
    )


def name_of(row: SweepRow, axes: Sequence[str]) -> str:
    """The cell by its axes' values: `batch_size=4 dataset=coco`."""
    return " ".join(f"{axis}={row.settings.get(axis)}" for axis in axes) or row.cell


def estimate_text(estimate: Estimate) -> str:
    """`0.3721 [0.3650, 0.3802]`, with `*` where no coverage is claimed; a dash: not measured."""
    if estimate.value is None:
        return _ABSENT
    said = f"{estimate.value:.{_DIGITS}g}"
    if estimate.interval is None:
        return said
    mark = "*" if estimate.interval.confidence is None else ""
    low, high = estimate.interval.low, estimate.interval.high
    return f"{said} [{low:.{_DIGITS}g}, {high:.{_DIGITS}g}]{mark}"


def flops_text(flops: float) -> str:
    """`1.269 T`, with four digits."""
    number, prefix = prefixed(flops)
    return f"{number:.{_DIGITS}g} {prefix}" if prefix else f"{flops:.0f}"


def reasons(rows: Sequence[SweepRow], axes: Sequence[str]) -> list[str]:
    """Why cells failed, why numbers are absent and which do not compare, each with its cells."""
    found: dict[str, list[str]] = {}
    for row in rows:
        name = name_of(row, axes)
        if row.reason is not None:
            said = row.reason.removeprefix("not run: ")
            found.setdefault(f"{row.status}: {said}", []).append(name)
        if row.measured:
            for label, estimate in (("wer", row.wer), ("energy", row.energy_j)):
                if estimate.value is None:
                    found.setdefault(f"{label} absent: {estimate.reason}", []).append(name)
            for warning in row.warnings:
                found.setdefault(warning, []).append(name)
            if row.energy_j.value is not None:
                source = f"energy is in J per sample: {row.energy_source}"
                found.setdefault(source, []).append(name)
            if row.latency_unstable:
                found.setdefault("latency unstable, see sweep.csv", []).append(name)
    measured = [name_of(row, axes) for row in rows if row.measured]
    without_effect = sizes_without_effect(rows)
    return [
        *([without_effect] if without_effect else []),
        *_lines_of_equal_work(rows, axes),
        *_where_lines(rows, axes, measured),
        *(f"{reason} ({_cells_text(names, measured)})" for reason, names in found.items()),
    ]


def _lines_of_equal_work(rows: Sequence[SweepRow], axes: Sequence[str]) -> list[str]:
    """A sentence for each line of cells along which the axis never reached the model."""
    said = []
    for axis in (name for name in axes if name in SCALED_AXES):
        for fixed, line in lines_along(rows, axis, axes):
            row = line[0]
            if row.flops is None or not equal_work(line):
                continue
            where = " ".join(f"{key}={value}" for key, value in fixed.items())
            values = ", ".join(str(each.settings[axis]) for each in line)
            said.append(
                f"{axis} {values}{' with ' if where else ''}{where} gave the model the same work "
                f"({_seen(row)}, {flops_text(row.flops)} FLOP a batch): latency and energy cannot "
                "depend on it there, and it has no exponent"
            )
    return said


def _where_lines(rows: Sequence[SweepRow], axes: Sequence[str], measured: list[str]) -> list[str]:
    """Warnings about the machines: cells on unlike ones, and cells that shared one."""
    lines = []
    for difference in unlike(rows):
        values = "; ".join(
            f"{value} ({_cells_text([name_of(row, axes) for row in of], measured)})"
            for value, of in difference.values
        )
        lines.append(
            f"cells ran on unlike machines, times and joules compare within one only: "
            f"{difference.what}: {values}"
        )
    beside = [name_of(row, axes) for row in neighboured(rows)]
    if beside:
        lines.append(
            "ran while another cell ran on another device of the same machine, which shares its CPU "
            f"and power supply but not the device ({_cells_text(beside, measured)})"
        )
    return lines


def _cells_text(names: list[str], measured: list[str]) -> str:
    if names == measured and len(names) > 1:
        return "all measured cells"
    return ", ".join(names)


def _seen(row: SweepRow) -> str:
    """What really reached the model, which need not be what was asked for."""
    if row.text_length is None:
        return ""
    image = f"{row.image_tokens} image tokens" if row.pixels is None else f"{row.pixels} px"
    return f"{image}, {row.text_length} text, {row.decoder_steps:g} steps"
