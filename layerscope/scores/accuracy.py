"""Accuracies of answers under their official rules: predictions in, value, interval and reason out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from layerscope.records.interval import Interval
from layerscope.records.run_record import Prediction
from layerscope.scores.normalisation import LOWER_PUNCT, normalise
from layerscope.scores.option_letter import bare_letter, option_letter
from layerscope.scores.vqa_answers import ANNOTATORS, textvqa_score, vqa_score
from layerscope.stats.error_rate import score_interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """A mean of per-answer scores; `reason` says why it is absent or which samples it leaves out."""

    value: float | None = None
    interval: Interval | None = None
    reason: str | None = None


def vqa(predictions: Sequence[Prediction]) -> Accuracy:
    """Accuracy of the VQA evaluation over the samples that ten annotators answered."""
    return _over_annotators(predictions, vqa_score, "VQA accuracy")


def textvqa(predictions: Sequence[Prediction]) -> Accuracy:
    """Accuracy of TextVQA's own evaluator over the samples that ten annotators answered."""
    return _over_annotators(predictions, textvqa_score, "TextVQA accuracy")


def scienceqa(predictions: Sequence[Prediction]) -> Accuracy:
    """Share of multiple-choice questions whose answer names the right option.

    The letter decides where the answer names one; an answer in words is right when it is the
    option's text, without regard to case and punctuation.
    """
    asked = [item for item in predictions if item.letter_reference is not None]
    if not asked:
        return Accuracy(reason="no sample is a question with lettered options")
    scores = [float(_names_the_option(item)) for item in asked]
    return _mean(scores, _left_out(len(predictions) - len(asked), "no lettered options"))


def _over_annotators(
    predictions: Sequence[Prediction],
    score_one: Callable[[str, Sequence[str]], float],
    name: str,
) -> Accuracy:
    """Three agreeing annotators mean something else in a group of another size: those are left out.

    Where they are half of the samples or more, what is left is not the data's accuracy: absent.
    """
    if not predictions:
        return Accuracy(reason="no predictions")
    scores = [
        score_one(item.prediction, item.references)
        for item in predictions
        if len(item.references) == ANNOTATORS
    ]
    odd = {len(item.references) for item in predictions} - {ANNOTATORS}
    counts = ", ".join(str(count) for count in sorted(odd))
    if 2 * len(scores) <= len(predictions):
        return Accuracy(
            reason=f"{name} is defined for {ANNOTATORS} annotators' answers a sample; "
            f"this data has samples with {counts}."
        )
    return _mean(scores, _left_out(len(predictions) - len(scores), f"{counts} answers, not ten"))


def _mean(scores: Sequence[float], reason: str | None) -> Accuracy:
    return Accuracy(value=sum(scores) / len(scores), interval=score_interval(scores), reason=reason)


def _left_out(count: int, why: str) -> str | None:
    return f"{count} samples left out: {why}" if count else None


def _names_the_option(item: Prediction) -> bool:
    letter = option_letter(item.prediction)
    if letter is not None:
        return letter == bare_letter(item.letter_reference or "")
    said = normalise(item.prediction, LOWER_PUNCT)
    return bool(said) and said == normalise(item.text_reference or "", LOWER_PUNCT)
