"""WER and companions, by hand."""

from __future__ import annotations

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.errors import UsageError
from layerscope.measure.normalisation import normalise
from layerscope.measure.wer import rows, score, vqa_accuracy
from layerscope.records.run_record import Prediction


def answer(prediction: str, *references: str, sample_id: str = "s") -> Prediction:
    return Prediction(
        sample_id=sample_id,
        batch=0,
        prompt="Question: ? Answer:",
        prediction=prediction,
        references=references,
        new_tokens=3,
    )


def test_corpus_wer_and_mean_over_samples_by_hand() -> None:
    # 1 substitution of 4 words; 1 insertion over 1 word.
    quality = score([answer("the cat sat up", "the cat sat down"), answer("a dog", "dog")])
    assert quality.wer_value == pytest.approx(2 / 5)
    assert quality.wer_mean == pytest.approx((1 / 4 + 1 / 1) / 2)
    assert (quality.substitutions, quality.deletions, quality.insertions) == (1, 0, 1)
    assert quality.reference_words == 5
    assert quality.exact_match == 0


def test_wer_above_one() -> None:
    quality = score([answer("it is a red sign that says stop", "stop")])
    assert quality.wer_value == 7.0
    assert quality.wer_interval is None  # one sample says nothing about its spread


def test_best_of_references_and_exact_match() -> None:
    items = [answer("a cat", "the dog runs", "a cat"), answer("x y", "x", "x z")]
    quality = score(items)
    # First references: 3 errors of 3 words, 1 of 1. Nearest: 0 of 2, then 1 of 2 (1/1 is farther).
    assert quality.wer_value == pytest.approx(4 / 4)
    assert quality.wer_best == pytest.approx(1 / 4)
    assert quality.exact_match == 0.5
    assert [row.exact for row in rows(items)] == [True, False]


def test_empty_prediction_deletes_every_word() -> None:
    quality = score([answer("", "two words"), answer("right", "right")])
    assert quality.wer_value == pytest.approx(2 / 3)
    assert quality.deletions == 2
    assert quality.empty_predictions == 1


def test_empty_reference_counts_its_insertions_and_no_words() -> None:
    items = [answer("two words", ""), answer("right", "right"), answer("", "")]
    quality = score(items)
    assert quality.wer_value == pytest.approx(2 / 1)
    assert quality.wer_mean_samples == 2  # the first has no WER of its own
    assert quality.wer_mean == 0.0
    assert quality.empty_references == 2
    assert [row.wer for row in rows(items)] == [None, 0.0, 0.0]


def test_no_reference_words_at_all_is_absent_with_a_reason() -> None:
    quality = score([answer("word", ""), answer("word")])
    assert quality.wer_value is None
    assert quality.wer_interval is None
    assert quality.wer_mean is None
    assert quality.wer_best is None
    assert "no denominator" in (quality.reason or "")
    assert "no predictions" in (score([]).reason or "")


def test_normalisation_is_named_and_decides() -> None:
    items = [answer("A man.", "a man")]
    assert score(items).wer_value == 1.0
    assert score(items).normalisation == "none"
    assert score(items, normalisation="lower-punct").wer_value == 0.0
    assert score(items).wer_by_normalisation == {"none": 1.0, "lower-punct": 0.0, "vqa": 0.0}
    with pytest.raises(UsageError, match="lower-punct"):
        score(items, normalisation="lower")


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("  Two\n words ", "none", "Two words"),
        ("Don't STOP, now!", "lower-punct", "dont stop now"),
        ("well-known\N{EN DASH}sign", "lower-punct", "well known sign"),
        ("The answer is Two.", "vqa", "answer is 2"),
        ("dont", "vqa", "don't"),
        ("1,000 miles", "vqa", "1000 miles"),
        ("red/blue", "vqa", "red blue"),
        ("3.5 a.m.", "vqa", "3.5 am"),
        ("none", "vqa", "0"),
        ("?", "vqa", ""),
    ],
)
def test_normal_forms(text: str, form: str, expected: str) -> None:
    assert normalise(text, form) == expected


@pytest.mark.parametrize(
    ("matching", "expected"),
    # k of 10 agree: k annotators leave k - 1 others that match, 10 - k leave k.
    [
        (0, 0.0),
        (1, 9 * (1 / 3) / 10),
        (2, (2 * 1 / 3 + 8 * 2 / 3) / 10),
        (3, (3 * 2 / 3 + 7) / 10),
        (4, 1.0),
        (10, 1.0),
    ],
)
def test_vqa_accuracy_by_hand(matching: int, expected: float) -> None:
    references = ["The Stop."] * matching + ["go"] * (10 - matching)
    value, reason = vqa_accuracy([answer("stop", *references)])
    assert reason is None
    assert value == pytest.approx(expected)


def test_vqa_accuracy_is_absent_without_ten_references() -> None:
    value, reason = vqa_accuracy([answer("a", *["a"] * 5), answer("a", *["a"] * 10)])
    assert value is None
    assert "samples with 5" in (reason or "")


words = st.lists(st.sampled_from(["a", "b", "c", "dd"]), min_size=1, max_size=6).map(" ".join)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=8))
def test_corpus_wer_is_jiwers(pairs: list[tuple[str, str]]) -> None:
    quality = score([answer(prediction, reference) for prediction, reference in pairs])
    assert quality.wer_value == pytest.approx(
        jiwer.wer([r for _, r in pairs], [p for p, _ in pairs])
    )


texts = st.text(st.sampled_from("a b.?'\n"), max_size=6)


@given(st.lists(st.tuples(texts, st.lists(texts, max_size=3)), max_size=6))
def test_no_text_crashes_or_gives_nan(pairs: list[tuple[str, list[str]]]) -> None:
    for form in ("none", "lower-punct", "vqa"):
        quality = score([answer(p, *refs) for p, refs in pairs], normalisation=form)
        assert (quality.wer_value is None) == (quality.reason is not None)
        for value in (quality.wer_value, quality.wer_mean, quality.wer_best, quality.exact_match):
            assert value is None or value >= 0


def test_no_rate_of_errors_is_negative() -> None:
    """One word of four wrong: Student's t reaches to -0.55; below 0 there is no rate."""
    found = score([answer("red", "red")] * 3 + [answer("red", "blue")])
    assert found.wer_value == 0.25
    assert found.wer_interval is not None
    assert found.wer_interval.low == 0.0
    assert found.wer_interval.high == pytest.approx(1.0455, abs=1e-3)
