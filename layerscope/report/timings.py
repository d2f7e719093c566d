"""How a run's command spent its own time in, a table of it and its JSON out."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from layerscope.core.units import percent
from layerscope.records.run_record import RunRecord
from layerscope.report.page import Grid, Page


def render_timings(record: RunRecord, console: Console) -> None:
    """Print it; one line where the record does not say."""
    page = Page(console)
    if not record.command:
        page.line("timings: this run's record does not hold them")
        return
    page.grid(timings_grid(record))


def timings_grid(record: RunRecord) -> Grid:
    """A row a pass, in order; what lies between them is a row, too, so that they sum to the whole."""
    parts = record.command
    whole = max((part.start_s + part.wall_s for part in parts), default=0.0)
    between = whole - sum(part.wall_s for part in parts)
    rows = [
        (part.name.replace("_", " "), part.wall_s, f"{part.cpu_s:.2f}", str(part.batches or ""))
        for part in parts
    ]
    rows.append(("between passes", between, "", ""))
    return Grid(
        title="timings: this command's own time, by pass",
        header=("pass", "wall s", "of all", "host CPU s", "generate() calls"),
        rows=tuple(
            (name, f"{wall:.2f}", percent(wall / whole if whole else 0.0), *rest)
            for name, wall, *rest in rows
        ),
        footer=(
            "sum", f"{whole:.2f}", "", f"{sum(part.cpu_s for part in parts):.2f}",
            str(sum(part.batches for part in parts)),
        ),
    )  # fmt: skip


def timings_json(record: RunRecord) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "pass": part.name,
            "start_s": part.start_s,
            "wall_s": part.wall_s,
            "cpu_s": part.cpu_s,
            "generate_calls": part.batches,
        }
        for part in record.command
    ]
