"""A sweep's rows and what was derived from them in, `sweep.md` out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from layerscope.core.errors import EnvironmentProblem
from layerscope.core.whole_file import whole_file
from layerscope.records.sweep import SweepRow
from layerscope.report.markdown import escape
from layerscope.report.page import Grid
from layerscope.report.sweep.grids import BRACKETS, exponent_grid, name_of, reasons, sweep_grid
from layerscope.stats.front import Front
from layerscope.stats.sweep_tables import Exponent


def sweep_markdown(
    name: str,
    rows: Sequence[SweepRow],
    axes: Sequence[str],
    found: Sequence[Exponent],
    front: Front,
    more: Sequence[str] = (),
) -> str:
    """The whole page. `more`: further sections, each Markdown by itself."""
    devices = sorted({row.device_name for row in rows if row.device_name})
    models = sorted({row.config.model for row in rows})
    parts = [
        f"# {escape(name)}",
        f"Model {escape(', '.join(models))}; device {escape(', '.join(devices) or 'none')}. "
        f"{BRACKETS[0].upper()}{BRACKETS[1:]}. A dash is a number that was not measured.",
        grid_markdown(sweep_grid(rows, axes)),
    ]
    notes = [f"- {escape(line)}" for line in reasons(rows, axes)]
    parts += ["\n".join(notes)] if notes else []
    if found:
        grid = exponent_grid(found)
        parts += [f"**{escape(grid.title)}**", grid_markdown(grid)]
    parts.append(escape(front_text(front, rows, axes)))
    return "\n\n".join([*parts, *more]) + "\n"


def front_text(front: Front, rows: Sequence[SweepRow], axes: Sequence[str]) -> str:
    """The Pareto front in one line."""
    if not front.cells:
        return f"Pareto front: none, {front.reason}."
    names = [name_of(row, axes) for row in rows if row.cell in front.cells]
    aside = f" ({front.reason})" if front.reason else ""
    each = ", of each data set by itself," if len(front.datasets) > 1 else ""
    return (
        f"Pareto front of {', '.join(front.objectives)}{each}{aside}: {'; '.join(names)}; what "
        "intervals do not tell apart stands on it together."
    )


def grid_markdown(grid: Grid) -> str:
    """A grid as a Markdown table, its cells literal."""
    left = [index == 0 or name in grid.text for index, name in enumerate(grid.header)]
    lines = [
        "| " + " | ".join(grid.header) + " |",
        "|" + "|".join("---" if is_left else "---:" for is_left in left) + "|",
    ]
    lines += ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in grid.rows]
    return "\n".join(lines)


def write_markdown(text: str, path: Path) -> None:
    """Write the page.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    try:
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot write it ({error.strerror}).") from None
