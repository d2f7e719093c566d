"""A tower that ran more often than there were batches is found; one that did not is none."""

from __future__ import annotations

from dataclasses import replace

from unit.findings.test_findings import an_account, row

from layerscope.findings.encoder_calls import encoder_called_again
from layerscope.findings.evidence import Evidence, Verdict
from layerscope.records.finding import NotJudged
from layerscope.records.tables import Account


def an_answer(*, calls: int, batches: int = 1, inner: int | None = None) -> Account:
    """A tower of 60 ms and a layer in it of 20 ms, beside 120 ms of decoding."""
    return an_account(
        [
            row("generate", "other", 0, calls=batches),
            row("model.visual", "vision", 60, calls=calls),
            row("model.visual.merger", "vision", 20, calls=inner or 3 * calls),
            row("model.language_model", "decode", 120, calls=9 * batches),
        ],
        steps=10,
    )


def test_a_tower_that_runs_for_each_token() -> None:
    verdict = encoder_called_again(Evidence(account=an_answer(calls=5)))
    assert not isinstance(verdict, NotJudged)
    (found,) = verdict
    assert found.id == "encoder-called-again-vision"
    assert found.sentence == (
        "model.visual (vision) ran 5 times in 1 batch: 80.0 ms of device time, 40 % of it all."
    )
    assert found.saving.saved_ns == 64_000_000  # four of five calls
    assert found.rests_on[0].layer == "model.visual"


def test_two_calls_a_batch_may_be_by_design() -> None:
    verdict = encoder_called_again(Evidence(account=an_answer(calls=4, batches=2)))
    assert not isinstance(verdict, NotJudged)
    assert verdict[0].sentence.endswith("by design where one tower takes images and video.")
    assert verdict[0].saving.saved_ns == 40_000_000


def test_once_a_batch_is_nothing_to_say() -> None:
    assert encoder_called_again(Evidence(account=an_answer(calls=3, batches=3))) == ()


def test_a_loop_of_ones_own_counts_its_prompts() -> None:
    account = an_answer(calls=2, batches=10)
    rows = tuple(
        replace(r, layer=r.layer.replace("generate", "forward")) for r in account.table.rows
    )
    account = replace(account, table=replace(account.table, rows=rows, root="forward"))
    verdict = encoder_called_again(Evidence(account=account))  # ten calls of the model, one prompt
    assert not isinstance(verdict, NotJudged)
    assert "2 times in 1 batch" in verdict[0].sentence


def test_a_projection_called_for_two_things_is_nothing_to_say() -> None:
    def verdict(calls: int) -> Verdict:
        rows = [row("generate", "other", 0), row("m.projector", "projection", 9, calls=calls)]
        return encoder_called_again(Evidence(account=an_account(rows, steps=4)))

    assert verdict(2) == ()
    again = verdict(4)
    assert not isinstance(again, NotJudged)
    assert again[0].id == "encoder-called-again-projection"


def test_no_call_of_the_model_is_not_judged() -> None:
    account = an_account([row("forward", "other", 0, calls=0), row("v", "vision", 1, calls=2)])
    account = replace(account, table=replace(account.table, root="forward"))
    assert isinstance(encoder_called_again(Evidence(account=account)), NotJudged)
