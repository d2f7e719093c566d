"""`layerscope report` of a sweep's folder: whole, stopped on the way, and too large for one page."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from support.report_verb import report
from support.sweep_folder import REASON, write_sweep

from layerscope.records import load
from layerscope.report.html.sweep_page import sweep_html
from layerscope.runs.sweep import Sweep

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "traces" / "sample-tiny-b2"
XL = ROOT / "docs" / "results" / "h200" / "xl-b16-eager"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    write_sweep(folder, SAMPLE)
    return folder


def host_window_us(run: Path) -> float:
    account = json.loads((run / "run.json").read_text(encoding="utf-8"))["account"]
    return float(account["host_window_us"])


def latency_of(run: Path) -> str:
    """The median of the full batches as a grid shows it; every cell of this sweep is that run."""
    record = load(run)
    full = [s.generate_ns for s in record.latency if s.full and not s.warmup]
    return f"<td>{median(full) / 1e9:.4g} ["


def held_in(page: str) -> dict[str, list[dict[str, object]]]:
    found = re.search(r'<script type="application/json" id="rows">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    held: dict[str, list[dict[str, object]]] = json.loads(found[1])
    return held


def test_the_page_shows_every_cell_and_why_one_has_no_number(sweep: Path, tmp_path: Path) -> None:
    page = tmp_path / "sweep.html"
    before = sorted(path.name for path in sweep.rglob("*"))
    assert report(sweep, "--html", page)[0] == 0
    assert sorted(path.name for path in sweep.rglob("*")) == before  # a reader writes nothing
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 3_000_000
    for said in (
        "<h1>sweep mine</h1>", "5 done, 1 failed", "batch_size=4 image_size=224",
        "failed: CUDA out of memory: &lt;b&gt;448 px&lt;/b&gt; (batch_size=4 image_size=448)",
        latency_of(SAMPLE), "least energy per sample",
        "self time by phase, ms: inside operators",
        "and like it in 4 more of 5 cells",
    ):  # fmt: skip
        assert said in text, said
    assert REASON not in text
    assert text.count("<figure>") == 2
    assert str(ROOT) not in text
    assert "http://" not in text
    assert "https://" not in text
    again = tmp_path / "again.html"
    report(sweep, "--html", again)
    assert again.read_bytes() == page.read_bytes()


def test_each_cells_rows_sum_to_its_whole(sweep: Path, tmp_path: Path) -> None:
    report(sweep, "--html", tmp_path / "sweep.html")
    held = held_in((tmp_path / "sweep.html").read_text(encoding="utf-8"))
    at = held["columns"].index("cpu_self_ns")  # type: ignore[arg-type]
    assert [table["name"] for table in held["tables"]] == [
        f"batch_size={b} image_size={s}"
        for b, s in ((1, 224), (1, 448), (2, 224), (2, 448), (4, 224))
    ]
    for table in held["tables"]:
        rows = table["rows"]
        assert isinstance(rows, list)
        assert sum(row[at] for row in rows) == round(host_window_us(SAMPLE) * 1000)


def test_the_comment(sweep: Path, tmp_path: Path) -> None:
    code, shown, _ = report(sweep, "--markdown")
    assert code == 0
    assert shown.startswith("### layerscope sweep: mine\n")
    assert "**5 of 6 cells measured.**" in shown
    assert "CUDA out of memory: \\<b\\>448 px\\</b\\>" in shown
    assert len(shown) < 65_536
    report(sweep, "--markdown", tmp_path / "comment.md")
    assert (tmp_path / "comment.md").read_text(encoding="utf-8") == shown


def test_a_sweep_that_was_stopped_is_reported_by_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    write_sweep(folder, SAMPLE, tables=False)
    shutil.rmtree(next(folder.glob("cells/*-000000000002")))
    page = tmp_path / "sweep.html"
    assert report(folder, "--html", page)[0] == 0
    text = page.read_text(encoding="utf-8")
    assert "4 done, 1 not run, 1 failed" in text
    # Drawn, for the folder has none: each number, and each phase's time, against each axis.
    assert text.count("<figure>") == 4
    assert not (folder / "figures").exists()
    shutil.rmtree(folder / "cells")
    assert report(folder, "--html", page)[0] == 0
    assert "no cell has run" in page.read_text(encoding="utf-8")


def test_a_page_keeps_to_its_size_and_says_what_it_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    write_sweep(folder, XL, tables=False)
    sent = Sweep.open(folder).report
    # Thirty cells of the XL model: the five that are there, six times over.
    rows = [
        replace(row, cell=f"{row.cell}-{n}", settings={**row.settings, "batch_size": 100 + n})
        for n in range(6)
        for row in sent.measured
    ]
    layers = {row.cell: sent.layers[row.cell.rpartition("-")[0]] for row in rows}
    page = sweep_html(replace(sent, rows=tuple(rows), layers=layers))
    assert len(page.encode()) < 3_000_000
    kept = len(held_in(page)["tables"])
    assert 10 < kept < 30
    assert f"{30 - kept} further cells have layers" in page


def test_an_account_that_does_not_add_up_ends_with_5(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    write_sweep(folder, SAMPLE)
    run = next(folder.glob("cells/*-000000000001"))
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["account"] |= {"status": "failed", "failures": ["host: rows minus window = 3 ns"]}
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    page = tmp_path / "sweep.html"
    code, _, line = report(folder, "--html", page)
    assert (code, "rows minus window = 3 ns" in line) == (5, True)
    assert "The account does not add up" in page.read_text(encoding="utf-8")


def test_a_layer_table_that_lost_a_row_ends_with_5(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    write_sweep(folder, SAMPLE)
    table = next(folder.glob("cells/*-000000000003")) / "layers.csv"
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    root = next(i for i, line in enumerate(lines) if line.startswith("other,generate,"))
    table.write_text("".join(lines[:root] + lines[root + 1 :]), encoding="utf-8")
    code, shown, line = report(folder, "--markdown")
    assert (code, "layers.csv sums to" in line, "host window" in line) == (5, True, True)
    assert "**The account does not add up:**" in shown


def test_a_damaged_plan_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text("{}")
    code, _, line = report(tmp_path, "--markdown")
    assert (code, "not a plan of a sweep" in line) == (4, True)
