"""The two evaluators of short answers: every rule by hand, and the official scorers' own values."""

from __future__ import annotations

import json

import pytest
from support.shared import shared

from layerscope.scores.vqa_answers import textvqa_score, vqa_form, vqa_score


def ten(*parts: tuple[str, int]) -> list[str]:
    """Annotators' answers: each text so many times, ten in all."""
    answers = [text for text, times in parts for _ in range(times)]
    assert len(answers) == 10
    return answers


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("two", "2"),
        ("none", "0"),
        ("the  Stop", "stop"),
        ("a", ""),
        ("coca-cola", "coca cola"),  # no space beside the mark: it becomes one
        ("who? me", "who me"),  # a space beside it: it goes
        ("One - two", "1 2"),
        ("a,b 1,000", "ab 1000"),  # a comma between digits: every mark goes
        ("12:30 50% p&g don’t", "12:30 50% p&g don’t"),  # these are no marks of theirs
        ("3.5 a.m.", "3.5 am"),
        ("5.", "5"),
        (".5", ".5"),
        (". " * 40, ". . . . . . . ."),  # 32 full stops go, which is the value of a flag
        ("im dont Ive", "im don't ive"),
        ("somebody'd", "somebodyd"),  # a slip of their table
        ("'ow'sat", "'ow's'at"),
        ("one\ttwo\nthree", "1 2 3"),
        ("Ümlaut İ", "ümlaut i̇"),
    ],
)
def test_the_vqa_evaluation_s_form(text: str, form: str) -> None:
    assert vqa_form(text) == form


@pytest.mark.parametrize(
    ("matching", "expected"),
    # k of 10 agree: k annotators leave k - 1 others that match, 10 - k leave k.
    [
        (0, 0.0),
        (1, 9 * (1 / 3) / 10),
        (2, (2 * 1 / 3 + 8 * 2 / 3) / 10),
        (3, (3 * 2 / 3 + 7) / 10),
        (4, 1.0),
        (9, 1.0),
    ],
)
def test_leave_one_out_by_hand(matching: int, expected: float) -> None:
    answers = ten(("stop", matching), ("go", 10 - matching))
    for score in (vqa_score, textvqa_score):
        assert score("The Stop.", answers) == pytest.approx(expected)


def test_where_all_annotators_agree_the_vqa_evaluation_compares_as_written() -> None:
    agreed = ten(("stop", 10))
    assert vqa_score("Stop", agreed) == 0
    assert vqa_score(" stop\n", agreed) == 1  # surrounding white space always goes
    assert textvqa_score("Stop", agreed) == 1
    assert vqa_score("Stop", ten(("stop", 9), ("go", 1))) == 1
    # White space alone does not make two answers of one.
    assert vqa_score("Stop", ten(("stop", 9), ("stop\n", 1))) == 0


def test_evalai_parts_a_possessive_and_drops_commas_anywhere() -> None:
    given = ten(("mcdonald 's", 5), ("x", 5))
    assert textvqa_score("McDonald's", given) == 1
    assert vqa_score("McDonald's", given) == 0
    assert textvqa_score("1,0,0", ten(("100", 5), ("x", 5))) == 1
    # No comma is left to say that the other marks go without a space.
    assert textvqa_score("1,000-x", ten(("1000 x", 5), ("y", 5))) == 1
    assert vqa_score("1,000-x", ten(("1000x", 5), ("y", 5))) == 1


def test_an_empty_answer_is_an_answer() -> None:
    given = ten(("", 3), ("x", 7))
    assert vqa_score("", given) == textvqa_score("", given) == pytest.approx(0.9)
    with pytest.raises(ValueError, match="no annotator"):
        vqa_score("x", [])


def test_the_official_scorers_values() -> None:
    cases = json.loads(shared("cases/vqa_accuracy.json").read_text())["cases"]
    assert len(cases) > 100
    for case in cases:
        said, given = case["prediction"], case["references"]
        assert vqa_score(said, given) == pytest.approx(case["vqa_eval"], abs=1e-12), case
        assert textvqa_score(said, given) == pytest.approx(case["eval_ai"], abs=1e-12), case
