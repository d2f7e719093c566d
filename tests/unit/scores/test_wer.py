"""WER and companions, by hand."""

from __future__ import annotations

from dataclasses import replace

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.core.errors import UsageError
from layerscope.records.run_record import Prediction
from layerscope.scores.normalisation import normalise
from layerscope.scores.wer import rows, score, textvqa_accuracy, vqa_accuracy


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
        ("howd im", "vqa", "how'd im"),
    ],
)
def test_normal_forms(text: str, form: str, expected: str) -> None:
    assert normalise(text, form) == expected


def test_the_evaluators_accuracies_stand_each_under_its_name() -> None:
    # All agree: the VQA evaluation compares as written, TextVQA's processes.
    agreed = answer("Stop", *["stop"] * 10)
    split = answer("stop", *["The Stop."] * 2, *["go"] * 8)
    assert vqa_accuracy([agreed]) == (0.0, None)
    assert textvqa_accuracy([agreed]) == (1.0, None)
    found = score([agreed, split])
    assert found.vqa_accuracy == pytest.approx((0 + (2 / 3 + 8 * 2 / 3) / 10) / 2)
    assert found.textvqa_accuracy == pytest.approx((1 + (2 / 3 + 8 * 2 / 3) / 10) / 2)
    assert found.vqa_interval is not None
    assert found.vqa_interval.low <= found.vqa_accuracy <= found.vqa_interval.high


def test_an_annotator_who_wrote_nothing_is_one_of_the_ten() -> None:
    item = answer("stop", "", *["stop"] * 9)
    quality = score([item, item])
    assert quality.vqa_accuracy == quality.textvqa_accuracy == 1.0
    assert quality.wer_value == 0.0  # the first reference is the first that has a word
    assert quality.reference_words == 2
    assert not score([answer("", "", "stop")] * 2).exact_match


def test_vqa_accuracy_leaves_out_few_samples_without_ten_references_and_says_so() -> None:
    ten = answer("a", *["a"] * 10)
    value, reason = vqa_accuracy([answer("a", *["a"] * 5), ten])
    assert value is None
    assert "samples with 5" in (reason or "")
    value, reason = vqa_accuracy([answer("a"), ten, ten])
    assert value == 1.0
    assert reason == "1 samples left out: 0 answers, not ten"


def lettered(prediction: str) -> Prediction:
    item = answer(prediction, "b")
    return replace(item, letter_reference="b", text_reference="a magnet")


def test_scienceqa_accuracy_by_letter_or_by_the_options_text() -> None:
    right = ["B", "(b)", "The answer is B.", "b. something", "A magnet."]
    wrong = ["A", "(a) a magnet", "magnet", "", "The answer is A."]
    found = score([lettered(text) for text in right + wrong])
    assert found.scienceqa_accuracy == 0.5
    assert found.scienceqa_interval is not None
    assert found.wer_value is not None  # beside it
    plain = score([answer("b", "b")])
    assert plain.scienceqa_accuracy is None
    assert "lettered" in (plain.scienceqa_reason or "")


def test_the_vqa_normalisation_keeps_an_answer_of_articles() -> None:
    assert normalise("A", "vqa") == normalise("a.", "vqa") == "a"
    assert normalise("a cat", "vqa") == "cat"
    assert score([answer("A", "a")] * 2, normalisation="vqa").wer_value == 0.0
    assert score([answer("", "a")] * 2, normalisation="vqa").wer_value == 1.0


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


def test_the_interval_at_few_errors_is_the_exact_one() -> None:
    """Two of 32 one-word answers wrong, and none of 64: Clopper and Pearson's values."""
    found = score([answer("red", "red")] * 30 + [answer("red", "blue")] * 2).wer_interval
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.00766, 0.20807), abs=1e-5)
    none = score([answer("red", "red")] * 64).wer_interval
    assert none is not None
    assert (none.low, none.high) == pytest.approx((0.0, 1 - 0.025 ** (1 / 64)))
