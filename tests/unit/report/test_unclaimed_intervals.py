"""Below 24 batches no text calls the latency's range 95 %, and each says why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from layerscope.records import Interval, load
from layerscope.records.sweep import Estimate
from layerscope.report.end_to_end import end_to_end
from layerscope.report.html.headline import headlines, interval_methods
from layerscope.report.sweep.grids import BRACKETS, estimate_text

SAMPLE = load(Path(__file__).resolve().parents[3] / "traces" / "sample-tiny-b2")
FEW = "too few to see how alike neighbours are (at least 24)"


def test_a_run_of_sixteen_batches_claims_nothing() -> None:
    lines = list(end_to_end(SAMPLE))
    labels = [label for label, _ in lines]
    assert f"16 batches are {FEW}" in lines[labels.index("latency") + 1][1]
    assert f"8 batches are {FEW}" in lines[labels.index("first token") + 1][1]
    (latency,) = [item for item in headlines(SAMPLE) if item.name == "latency"]
    assert "range" in latency.interval
    assert FEW in latency.interval
    assert "95 %" not in latency.interval
    assert "95 %" not in dict(interval_methods(SAMPLE))["latency"]
    assert "95 %" in dict(interval_methods(SAMPLE))["WER"]


def test_thirty_two_batches_do() -> None:
    more = replace(SAMPLE, latency=(*SAMPLE.latency, *SAMPLE.latency))
    assert not [text for _, text in end_to_end(more) if "16 batches are" in text]
    (latency,) = [item for item in headlines(more) if item.name == "latency"]
    assert "95 % interval" in latency.interval
    assert "widened" in dict(interval_methods(more))["latency"]


def test_a_sweep_marks_such_brackets() -> None:
    known = Interval(low=1.0, high=3.0, method="m")
    assert estimate_text(Estimate(value=2.0, interval=known)) == "2 [1, 3]"
    unknown = replace(known, confidence=None, reason="few")
    assert estimate_text(Estimate(value=2.0, interval=unknown)) == "2 [1, 3]*"
    assert "*" in BRACKETS
