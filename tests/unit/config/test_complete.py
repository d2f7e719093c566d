"""Which runs can be completed, and with what configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from layerscope.config.complete import completion
from layerscope.config.resolve import resolve
from layerscope.core.errors import UsageError
from layerscope.differences.environment import differences
from layerscope.records import load

RESULTS = Path(__file__).parents[3] / "docs" / "results" / "h200"


def test_a_quick_run_keeps_its_configuration_but_for_what_made_it_quick() -> None:
    record = load(RESULTS / "models" / "qwen-b1-eager")
    quick = replace(record, config=replace(record.profiled, quick=True))
    found = completion(quick, Path("/runs/it"))
    assert found.config == replace(record.profiled, quick=False, out="/runs")
    assert {"dtype", "image_size"} <= found.given
    assert found.choices == record.choices


@pytest.mark.parametrize(
    ("folder", "why"),
    [("models/qwen-b1-eager", "not a run of --quick"), ("programs/chat", "a capture")],
)
def test_others_are_refused(folder: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        completion(load(RESULTS / folder), Path("/runs/it"))


def test_a_quick_run_is_traced_once_unless_asked() -> None:
    def traces(**given: object) -> int:
        return resolve({"device": "cuda", **given}, cuda=True).config.traces

    assert (traces(), traces(quick=True), traces(quick=True, traced_batches=2)) == (3, 1, 2)


def test_that_a_run_was_quick_makes_it_no_other_way_of_running() -> None:
    record = load(RESULTS / "models" / "qwen-b1-eager")
    quick = replace(record, config=replace(record.profiled, quick=True))
    assert differences(record, quick) == differences(record, record)
