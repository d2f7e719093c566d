"""The report as a comment on a pull request: numbers first, names literal, never too long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layerscope.records import RunRecord
from layerscope.records.finding import Finding, Saving
from layerscope.records.tables import Account
from layerscope.report.html import SentRun
from layerscope.report.pull_request import MOST_CHARACTERS, pull_request_markdown


def finding(number: int) -> Finding:
    return Finding(
        id=f"f{number}",
        sentence=f"finding {number} of <b>this</b> run",
        rests_on=(),
        try_next="",
        saving=Saving(saved_ns=None, basis="not measured"),
    )


@pytest.fixture
def sent(gpu_record: RunRecord, gpu_account: Account) -> SentRun:
    return SentRun(
        record=gpu_record,
        account=gpu_account,
        work=None,
        findings=tuple(map(finding, range(1, 8))),
        absent=(("figure window", "not drawn"),),
    )


def test_the_numbers_and_the_proof_stand_before_anything_folded(sent: SentRun) -> None:
    shown, _, folded = pull_request_markdown(sent).partition("<details>")
    assert "| latency | 1 s per batch of 2 | 0.5 s |" in shown
    assert "| energy | not measured | | no NVML device |" in shown
    assert "**device 210,096.345 us = modules" in shown
    assert "| **sum** | **33,881** | **210** | **100.00 %** |" in shown
    assert "figure window: not drawn" in folded
    assert "warning: a \\[bold\\]warning\\[/bold\\]" in folded


def test_five_findings_are_shown_and_the_rest_counted(sent: SentRun) -> None:
    text = pull_request_markdown(sent)
    assert "5. finding 5 of \\<b\\>this\\</b\\> run" in text
    assert "finding 6" not in text
    assert "2 more in the full report." in text
    assert "Findings: none." in pull_request_markdown(replace(sent, findings=()))
    assert "Findings: not judged." in pull_request_markdown(replace(sent, findings=None))


def test_names_cannot_write_markup(sent: SentRun) -> None:
    name = "<img src=x>|[a](http://b)"
    record = replace(sent.record, name=name, model=replace(sent.record.model, name=name))
    text = pull_request_markdown(replace(sent, record=record))
    assert "<img" not in text.replace("\\<img", "")
    assert "[a]" not in text
    assert "\\<img src=x\\>\\|\\[a\\](http://b)" in text


def test_a_table_too_long_for_a_comment_is_named(sent: SentRun) -> None:
    record = replace(sent.record, warnings=("w" * MOST_CHARACTERS,))
    text = pull_request_markdown(replace(sent, record=record))
    assert len(text) < MOST_CHARACTERS
    assert "not in this report, and warnings: too long for a comment" in text
    assert "| **sum** |" in text


def test_an_untraced_run_and_a_failed_account_say_so(sent: SentRun) -> None:
    untraced = replace(sent, account=None, absent=(("account", "the run was not traced"),))
    assert "No account by layer: the run was not traced" in pull_request_markdown(untraced)
    failed = pull_request_markdown(replace(sent, failures=("off by 3 ns",)))
    assert "**The account does not add up:** off by 3 ns" in failed
