"""The host's time before each batch, by hand, and on the committed runs by every reader."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.plugins import base_plugin
from werkzeug.test import Client

from layerscope.cli.main import run as run_command
from layerscope.core.units import ms_three
from layerscope.records import LatencySample
from layerscope.records.run_record import load
from layerscope.report.beside_batch import beside_grid, beside_json
from layerscope.runs.run import Run
from layerscope.stats.beside_batch import beside_batch, beside_of
from layerscope.tab.plugin import LayersPlugin

ROOT = Path(__file__).parents[3]
SAMPLE = ROOT / "traces" / "sample-tiny-b2"
GPU = ROOT / "docs" / "results" / "h200" / "xl-b1-eager"


def sample(
    generate_ns: int, preprocess_ns: int | None, copy_ns: int, **other: Any
) -> LatencySample:
    return LatencySample(
        **{
            "batch": 0, "size": 4, "warmup": False, "full": True, "generate_ns": generate_ns,
            "preprocess_ns": preprocess_ns, "copy_ns": copy_ns, "decoder_steps": 3,
            "new_tokens": (3,) * 4,
        } | other
    )  # fmt: skip


def test_medians_of_the_batches_that_were_prepared() -> None:
    samples = (
        sample(9_000, 900, 90, warmup=True),
        sample(1_000, 100, 10),
        sample(3_000, 300, 20),
        sample(5_000, 500, 90),
        sample(
            7_000, None, 70
        ),  # a repeat: its inputs were ready, so it counts for the latency alone
        sample(8_000, 800, 80, full=False),
    )
    processor, copy = beside_of(samples, "textvqa")
    assert (processor.host_ns, copy.host_ns) == (300, 20)
    assert (processor.batches, copy.batches) == (3, 3)
    assert processor.generate_ns == 4_000  # of 1,000, 3,000, 5,000 and 7,000
    assert (processor.share, copy.share) == (300 / 4_000, 20 / 4_000)
    assert (processor.reason, copy.reason) == ("", "")


def test_what_was_not_measured_is_blank_with_the_reason() -> None:
    processor, copy = beside_of((sample(1_000, 100, 10),), "synthetic-random")
    assert (processor.host_ns, processor.share) == (None, None)
    assert processor.reason == "the inputs were drawn, so no processor ran"
    assert (copy.host_ns, copy.reason) == (10, "")
    for one in beside_of((), "textvqa"):
        assert (one.host_ns, one.share) == (None, None)
        assert one.reason == "no full batch was prepared and timed"
    grid = beside_grid((processor, copy))
    assert grid.header[-1] == "absent because"
    assert grid.rows[0] == ("preprocessing", "-", "-", processor.reason)
    assert beside_json((processor,))[0]["host_us"] is None


@given(st.lists(st.tuples(*(st.integers(1, 10**12),) * 3), min_size=1, max_size=9))
def test_a_median_lies_among_its_samples(times: list[tuple[int, int, int]]) -> None:
    rows = beside_of([sample(*each) for each in times], "textvqa")
    for place, row in enumerate(rows, 1):
        values = [each[place] for each in times]
        assert row.host_ns is not None
        assert min(values) <= row.host_ns <= max(values)
        assert row.share == row.host_ns / round(median(each[0] for each in times))


@pytest.mark.parametrize("folder", [SAMPLE, GPU], ids=lambda path: path.name)
def test_no_sum_of_the_account_holds_them(folder: Path, tmp_path: Path) -> None:
    """The rows stand beside the table: its phases and its sum are what they were."""
    run = Run.open(folder)
    names = {row.name for row in run.beside_batch}
    assert names == {"preprocessing", "copy to the device"}
    assert names.isdisjoint(row.phase for row in run.account.table.rows)
    run.account.table.check()


@pytest.mark.parametrize("folder", [SAMPLE, GPU], ids=lambda path: path.name)
def test_screen_page_comment_and_tab_say_the_same(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = beside_batch(load(folder))
    said = [ms_three(row.host_ns) for row in rows if row.host_ns is not None]
    assert said
    assert run_command(["layers", str(folder), "--top", "1"]) == 0
    screen = capsys.readouterr().out
    assert run_command(["layers", str(folder), "--top", "1", "--phase", "decode"]) == 0
    assert "beside the batch" not in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert run_command(["report", str(folder), "--html", str(page), "--markdown", "-"]) == 0
    comment = capsys.readouterr().out
    html = page.read_text(encoding="utf-8")
    for row, text in zip([r for r in rows if r.host_ns is not None], said, strict=True):
        assert re.search(rf"^{row.name} +{text} ", screen, re.MULTILINE)
        assert f"| {row.name} | {text} |" in comment
        assert re.search(rf'<th scope="row">{row.name}</th>\s*<td>{text}</td>', html)
    plugin = LayersPlugin(base_plugin.TBContext(logdir=str(folder)))
    answer = Client(plugin.get_plugin_apps()["/runs"]).get("/runs").get_data()
    assert json.loads(answer)[0]["beside_batch"] == beside_json(rows)
