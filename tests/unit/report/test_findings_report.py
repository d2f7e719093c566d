"""Findings on the screen and in `findings.json`: the same sentences, and the unknowns beside them."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from layerscope.core.errors import DataError
from layerscope.records.finding import Finding, NotJudged, RestsOn, Saving
from layerscope.report.findings import (
    read_findings_json,
    render_findings,
    saving_text,
    write_findings_json,
)

FINDING = Finding(
    id="launch-bound-decode",
    sentence="decode is launch-bound [bold].",
    rests_on=(RestsOn(phase="decode"), RestsOn(layer="a", phase="decode")),
    try_next="--optimization cudagraphs",
    saving=Saving(
        saved_ns=250_000_000, whole_ns=1_000_000_000, of="latency", basis="the gaps of the trace"
    ),
    concerns_ns=300_000_000,
)
UNKNOWN = NotJudged(rule="recompiles", reason="not counted")


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    write_findings_json([FINDING], [UNKNOWN], path)
    held = read_findings_json(path)
    assert (held.findings, held.not_judged) == ((FINDING,), (UNKNOWN,))


def test_a_file_of_another_form_is_named(tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    with pytest.raises(DataError, match=r"findings\.json: cannot be read"):
        read_findings_json(path)
    path.write_text('{"findings": 3}')
    with pytest.raises(DataError, match="not a findings file"):
        read_findings_json(path)


def test_the_screen_says_saving_and_unknowns() -> None:
    file = StringIO()
    render_findings([FINDING], [UNKNOWN], Console(file=file, _environ={}, width=60))
    assert file.getvalue() == (
        "\nfindings\n"
        "1. decode is launch-bound [bold].\n"
        "   could save about 250.000 ms (25.0 % of latency): the gaps of the trace\n"
        "   try: --optimization cudagraphs\n"
        "not judged: recompiles (not counted)\n"
    )
    file = StringIO()
    render_findings([], [], Console(file=file, _environ={}))
    assert file.getvalue() == "\nfindings: none\n"


def test_an_estimate_that_does_not_exist_says_why() -> None:
    assert saving_text(Saving(saved_ns=None, basis="needs two runs")) == (
        "saving not estimated: needs two runs"
    )
