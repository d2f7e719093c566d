"""Predictions in, their scores out, or the reason why there are none."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from layerscope.records import ModelRecord, Prediction, Quality, RunConfig
from layerscope.scores.wer import score


def score_run(
    config: RunConfig, model: ModelRecord, predictions: Sequence[Prediction]
) -> tuple[Quality, dict[str, Quality]]:
    """Scores against the references the run asked for, and of lettered questions in both forms."""
    reason = _absent(config, model, predictions)
    if reason is not None:
        nothing = Quality(
            samples=len(predictions), normalisation=config.normalisation, reason=reason
        )
        return nothing, {}
    quality = score(predictions, normalisation=config.normalisation)
    by_form = {
        form: score(answered, normalisation=config.normalisation)
        for form in ("letter", "text")
        if (answered := _in_form(predictions, form))
    }
    return quality, by_form


def _absent(config: RunConfig, model: ModelRecord, predictions: Sequence[Prediction]) -> str | None:
    if config.weights == "random":
        return f"the weights are {model.weights}, so answers mean nothing"
    if not predictions:
        return "no processor, so the tokens were not decoded"
    if not any(prediction.references for prediction in predictions):
        return "the data set has no reference answers"
    return None


def _in_form(predictions: Sequence[Prediction], form: str) -> list[Prediction]:
    found = []
    for prediction in predictions:
        reference = getattr(prediction, f"{form}_reference")
        if reference is not None:
            found.append(dataclasses.replace(prediction, references=(reference,)))
    return found
