"""The letter that an answer names, form by form."""

from __future__ import annotations

import pytest

from layerscope.scores.option_letter import option_letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("A", "a"),
        (" b. ", "b"),
        ("(a)", "a"),
        ("[C]", "c"),
        ("**D**", "d"),
        ("B. a magnet", "b"),
        ("b) a magnet", "b"),
        ("(c) a magnet", "c"),
        ("C: a magnet", "c"),
        ("B\nbecause it is one", "b"),
        ("The answer is A.", "a"),
        ("the answer is (b) because", "b"),
        ("THE ANSWER IS C", "c"),
        ("The correct answer is option D.", "d"),
        ("Answer: B", "b"),
        ("answer: c", "c"),
        ("I would take (b)", "b"),
        ("Option C is right", "c"),
    ],
)
def test_a_letter_is_found(text: str, letter: str) -> None:
    assert option_letter(text) == letter


@pytest.mark.parametrize(
    "text",
    [
        *("", "a magnet", "A magnet attracts it", "the answer is a magnet", "an apple", "magnet"),
        *("(a) or (b)", "The answer is A or the answer is B", "E.coli", "The answer is An apple"),
    ],
)
def test_a_word_is_no_letter_and_two_letters_are_none(text: str) -> None:
    assert option_letter(text) is None
