"""The first screen of a real run, as text, at the widths of real terminals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layerscope.records import RunRecord
from layerscope.records.tables import Account
from layerscope.report.console import Traced, render_account, render_run
from layerscope.report.selection import Selection
from layerscope.runs.run import Run

XL = Path(__file__).resolve().parents[3] / "docs" / "results" / "h200" / "xl-b16-eager"
FOLDER = Path("traces/20261124T002851Z-instructblip-flan-t5-xl-b16-224px-synthetic-random-random")
Screen = Callable[..., Any]


@pytest.fixture(scope="module")
def run() -> Run:
    return Run.open(XL)


@pytest.fixture
def account(run: Run) -> Account:
    return replace(run.account, source="layers.csv")


def first(run: Run, shown: Any, **options: Any) -> str:
    assert run.record is not None
    traced = Traced(account=run.account, findings=run.findings)
    render_run(run.record, traced, shown.console, folder=FOLDER, **options)
    return str(shown.text)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_as_text(
    run: Run, account: Account, width: int, screen: Screen, golden: Callable[[str, str], None]
) -> None:
    shown = screen(force_terminal=True, width=width, color_system=None)
    first(run, shown)
    shown.console.print("----")
    render_account(account, shown.console, Selection(top=8))
    render_account(account, shown.console, Selection(depth=3), form="tree")
    golden(f"terminal_{width}", shown.text)
    assert all(len(line) <= width or " " not in line.strip() for line in shown.text.splitlines())


def test_it_fits_in_thirty_lines_of_a_hundred_columns(run: Run, screen: Screen) -> None:
    text = first(run, screen(force_terminal=True, width=100, color_system=None))
    lines = text.splitlines()
    assert len(lines) <= 30
    assert all(len(line) <= 100 for line in lines)
    assert [line.split()[0] for line in lines[2:6]] == ["latency", "energy", "FLOPs", "WER"]
    assert lines[2].startswith("latency     0.674 s [")
    assert "] per batch of 16, 0.0421 s per sample" in lines[2]
    assert sum(line.startswith(("1. ", "2. ", "3. ")) for line in lines) == 3
    assert sum(" ×24 " in line or " ×39 " in line for line in lines) == 10
    assert "; difference 0 ns" in " ".join(lines)
    assert [line.split()[1] for line in lines if line.strip().startswith("layerscope ")][1:] == [
        "layers", "report", "compare",
    ]  # fmt: skip
    assert f"RUN={FOLDER}" in text


def test_v_shows_all_else(run: Run, screen: Screen) -> None:
    short, long = first(run, screen()), first(run, screen(), verbose=True)
    assert long.startswith(short)
    for said in ("by phase, self time", "by group, self time", "not judged: ", "p90 ", "trace  "):
        assert said in long
        assert said not in short
    # One latency, under one name.
    assert long.count("0.674 s") == 1


def test_what_is_absent_or_unstable_is_yellow(
    gpu_record: RunRecord, gpu_account: Account, run: Run, screen: Screen
) -> None:
    coloured = {"force_terminal": True, "width": 120, "color_system": "standard"}
    shown = screen(**coloured)
    render_run(gpu_record, Traced(account=gpu_account), shown.console, folder=Path("r"))
    lines = shown.text.splitlines()
    yellow = [line for line in lines if "\x1b[33m" in line]
    assert [line.split()[0].removeprefix("\x1b[33m") for line in yellow] == ["energy", "WER"]
    assert "\x1b[33m" in first(run, screen(**coloured)).splitlines()[2]  # unstable
    # 91.9 % of the time stands out, 0.7 % does not.
    (large,) = [line for line in lines if "language_model " in line and "91.9 %" in line]
    (small,) = [line for line in lines if "generate " in line and "0.7 %" in line]
    assert "\x1b[1;31m" in large
    assert "\x1b[1;31m" not in small


def test_a_failed_account_and_a_run_without_a_trace_say_so(
    gpu_record: RunRecord, gpu_account: Account, screen: Screen
) -> None:
    table = gpu_account.table
    broken = replace(gpu_account, table=replace(table, rows=table.rows[:-2]))
    shown = screen()
    render_run(gpu_record, Traced(account=broken), shown.console, folder=Path("my runs/a"))
    assert "accounting: failed: device time: rows minus trace = -193148778 ns" in shown.text
    assert "layerscope report 'my runs/a' --html" in shown.text
    shown = screen()
    render_run(replace(gpu_record, trace=None), None, shown.console, folder=Path("r"))
    assert "no account by layer: the run was not traced" in shown.text
    assert "layerscope layers" not in shown.text
