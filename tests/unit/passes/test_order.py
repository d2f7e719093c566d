"""The list of passes: a run is what it says, and one more pass is one more line in it."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from layerscope.config.resolve import resolve
from layerscope.passes import order
from layerscope.passes.draft import Draft, known
from layerscope.passes.order import PASSES, Pass, always, whole
from layerscope.passes.profile import profile
from layerscope.passes.session import Session
from layerscope.records import load
from layerscope.report.progress import ProgressReporter

SMALL = {
    "model": "tiny", "device": "cpu", "batch_size": 1, "samples": 1, "warmup": 0, "image_size": 56,
    "max_new_tokens": 2, "measure_limit_s": 0.05, "dataset": "synthetic-textvqa", "trace": False,
}  # fmt: skip


def answer_lengths(session: Session, draft: Draft) -> None:
    """A pass that layerscope does not have."""
    lengths = [prediction.new_tokens for prediction in draft.predictions]
    with session.progress.task("count answers", len(lengths)) as advance:
        (session.folder / "lengths.json").write_text(json.dumps(lengths))
        advance(len(lengths))
    draft.files["lengths"] = "lengths.json"
    draft.warnings.append(f"{len(lengths)} answer counted")


@pytest.mark.parametrize("last", [True, False])
def test_a_pass_more_is_a_line_more(
    last: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = len(PASSES) if last else 1 + [each.run.__name__ for each in PASSES].index("answers")
    more = (*PASSES[:at], Pass(answer_lengths, always), *PASSES[at:])
    monkeypatch.setattr(order, "PASSES", more)
    screen = io.StringIO()
    resolved = resolve({**SMALL, "out": str(tmp_path)}, cuda=False)
    run = profile(resolved, ProgressReporter(Console(file=screen)), lambda line: None)
    record = load(run.folder)
    assert "count answers: started" in screen.getvalue()
    assert record.files["lengths"] == "lengths.json"
    assert json.loads((run.folder / "lengths.json").read_text()) == [
        prediction.new_tokens for prediction in record.predictions
    ]
    assert "1 answer counted" in record.warnings


def test_a_pass_runs_when_its_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def noted(each: Pass) -> Pass:
        def run(session: Session, draft: Draft) -> None:
            ran.append(each.run.__name__)
            each.run(session, draft)

        return dataclasses.replace(each, run=run)

    monkeypatch.setattr(order, "PASSES", tuple(map(noted, PASSES)))
    resolved = resolve({**SMALL, "out": str(tmp_path)}, cuda=False)
    profile(resolved, ProgressReporter(Console(), quiet=True), lambda line: None)
    assert ran == [each.run.__name__ for each in PASSES if each.when in (always, whole)]


def test_a_pass_in_the_wrong_place_says_so() -> None:
    with pytest.raises(LookupError, match="no pass before it"):
        known(Draft().work)
