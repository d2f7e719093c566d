"""The table of a command's own time: its parts and what lies between them sum to the whole."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from layerscope.records import load
from layerscope.records.pass_time import PassTime
from layerscope.report.timings import render_timings, timings_grid, timings_json

COMMITTED = Path(__file__).parents[3] / "docs" / "results" / "h200" / "models" / "qwen-b1-eager"
PARTS = (
    PassTime(name="start", start_s=0.0, wall_s=1.0, cpu_s=0.5),
    PassTime(name="load", start_s=1.25, wall_s=4.75, cpu_s=3.0),
    PassTime(name="first_token", start_s=6.0, wall_s=4.0, cpu_s=1.5, batches=3),
)


def test_the_parts_and_what_lies_between_are_the_whole() -> None:
    record = replace(load(COMMITTED), command=PARTS)
    grid = timings_grid(record)
    assert grid.rows == (
        ("start", "1.00", "10 %", "0.50", ""),
        ("load", "4.75", "48 %", "3.00", ""),
        ("first token", "4.00", "40 %", "1.50", "3"),
        ("between passes", "0.25", "2.5 %", "", ""),
    )
    assert grid.footer == ("sum", "10.00", "", "5.00", "3")
    assert timings_json(record)[2] == {
        "pass": "first_token", "start_s": 6.0, "wall_s": 4.0, "cpu_s": 1.5, "generate_calls": 3,
    }  # fmt: skip


def test_a_record_without_them_says_so() -> None:
    screen = io.StringIO()
    render_timings(load(COMMITTED), Console(file=screen))
    assert screen.getvalue().strip() == "timings: this run's record does not hold them"
