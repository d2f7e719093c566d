"""What a reader sees of a sweep: grids, the page, figures, the estimate."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.sweep_rows import about, row

from layerscope.config.plan import id_of
from layerscope.records import RunConfig
from layerscope.records.sweep import Cell, Estimate, SweepConfig, SweepFile
from layerscope.report.sweep.figures import write_sweep_figures
from layerscope.report.sweep.grids import (
    estimate_text,
    exponent_grid,
    flops_text,
    reasons,
    sweep_grid,
)
from layerscope.report.sweep.markdown import sweep_markdown
from layerscope.runs.sweep_folder import SweepFolder, invalidated
from layerscope.stats.front import pareto
from layerscope.stats.sweep_tables import exponents
from layerscope.sweep.estimate import batches_of, windows_s
from layerscope.sweep.estimate import estimate_text as time_text

AXES = ("batch_size",)
ROWS = [
    row({"batch_size": 1}, latency=0.25, reach=0.01, flops=1_268_568_840_704),
    row({"batch_size": 4}, latency=0.5, energy=2.0, reach=0.01, energy_source="NVML counter",
        warnings=("2 broken samples skipped",)),
    row({"batch_size": 8}, status="failed", reason="out of memory | <b>", wer=None),
]  # fmt: skip


def test_numbers_and_their_absence() -> None:
    assert estimate_text(about(0.25, 0.01)) == "0.25 [0.24, 0.26]"
    assert estimate_text(Estimate(value=3.0)) == "3"
    assert estimate_text(Estimate(reason="no counter")) == "–"
    assert flops_text(1_268_568_840_704) == "1.269 T"
    grid = sweep_grid(ROWS, AXES)
    assert grid.rows[0] == (
        "batch_size=1", "–", "0.25 [0.24, 0.26]", "–", "1.269 T", "224 px, 14 text, 10 steps",
        "done",
    )  # fmt: skip
    assert grid.rows[2][1:5] == ("–", "–", "–", "–")


def test_every_reason_is_said_once_with_its_cells() -> None:
    said = reasons(ROWS, AXES)
    assert "failed: out of memory | <b> (batch_size=8)" in said
    assert "wer absent: not measured in this test (all measured cells)" in said
    assert "energy absent: not measured in this test (batch_size=1)" in said
    assert "2 broken samples skipped (batch_size=4)" in said
    assert "energy is in J per sample: NVML counter (batch_size=4)" in said


def test_an_axis_that_never_reached_the_model_is_named() -> None:
    rows = [
        row({"dataset": name, "max_input_len": n}, latency=1.0, flops=flops, text_length=length)
        for name, n, flops, length in (
            ("synthetic-coco", 50, 7_587_000_000, 6),
            ("synthetic-coco", 200, 7_587_000_000, 6),
            ("synthetic-scienceqa", 50, 8_000_000_000, 50),
            ("synthetic-scienceqa", 200, 9_000_000_000, 123),
        )
    ]
    (said,) = [line for line in reasons(rows, ("dataset", "max_input_len")) if "same work" in line]
    assert said.startswith(
        "max_input_len 50, 200 with dataset=synthetic-coco gave the model the same work "
        "(224 px, 6 text, 10 steps, 7.587 G FLOP a batch)"
    )


def test_two_points_show_no_miss() -> None:
    (line,) = exponent_grid(exponents(ROWS, AXES)).rows
    assert line == ("batch_size", "latency", "0.50", "2", "–")


def test_the_page_shows_names_literally() -> None:
    page = sweep_markdown("a*b", ROWS, AXES, exponents(ROWS, AXES), pareto(ROWS))
    assert page.startswith("# a\\*b\n")
    assert "out of memory \\| \\<b\\>" in page
    table = [line for line in page.splitlines() if line.startswith("| batch")]
    assert {line.replace("\\|", "").count("|") for line in table[:3]} == {8}


def test_figures_hold_only_what_was_measured(tmp_path: Path) -> None:
    rows = [*ROWS, row({"batch_size": 2}, latency=0.3)]
    files = write_sweep_figures(rows, AXES, tmp_path, "a sweep")
    assert list(files) == ["figure batch_size"]
    text = files["figure batch_size"].read_bytes()
    assert text.startswith(b"<?xml")
    assert (tmp_path / "figures" / "against_batch_size.png").stat().st_size > 1000
    assert write_sweep_figures(ROWS[2:], AXES, tmp_path / "none", "a sweep") == {}
    words = [row({"optimization": o}, latency=1.0) for o in ("eager", "compile")]
    assert write_sweep_figures(words, ("optimization",), tmp_path, "a sweep")


def cell(**fields: object) -> Cell:
    said: dict[str, object] = {
        "model": "tiny", "dataset": "synthetic-coco", "device": "cpu", "dtype": "fp32", **fields,
    }  # fmt: skip
    config = RunConfig(**said)  # type: ignore[arg-type]
    return Cell(id=id_of(config), settings={"seed": config.seed}, config=config)


def test_the_estimate_by_hand() -> None:
    # Warm-up 2, four batches and a partial one, one traced, one counted.
    one = cell(samples=65, batch_size=16, measure_limit_s=4.0)
    assert batches_of(one) == 2 + 5 + 1 + 1
    assert windows_s(one) == 4.0
    assert windows_s(cell(samples=65, device="cuda", measure_limit_s=4.0)) == 4.0 + 5 * 2.0
    said = time_text([one], {})
    assert said.startswith("estimate: about 4 s of timed windows, and the time of 9 batches")
    assert time_text([], {}) == "nothing to run"


def test_what_a_change_invalidates() -> None:
    old, kept, gone = cell(seed=1), cell(seed=2), cell(seed=3)
    plan = SweepFile(layerscope="0", config=SweepConfig(name="s"), cells=(old, kept, gone))
    now = (cell(seed=1, samples=32), kept)
    finished = {old.id, kept.id, gone.id}
    changed = Cell(id=now[0].id, settings=old.settings, config=now[0].config)
    assert invalidated(plan, (changed, kept), finished) == [
        "seed=1: samples 64 -> 32",
        "seed=3: no longer in the plan",
    ]
    assert invalidated(plan, (changed, kept), {kept.id}) == []


@pytest.mark.parametrize("name", ["sweep.json", "failed/x.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    from layerscope.core.errors import DataError

    (tmp_path / "failed").mkdir()
    (tmp_path / name).write_text("{")
    folder = SweepFolder(tmp_path)
    with pytest.raises(DataError, match=name):
        folder.previous() if name == "sweep.json" else folder.failures()
