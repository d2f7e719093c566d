"""The scores of the answers, or the reason why there are none."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from layerscope.passes.draft import Draft
from layerscope.passes.session import Session
from layerscope.records import ModelRecord, Prediction, Quality, RunConfig
from layerscope.scores.wer import score


def quality(session: Session, draft: Draft) -> None:
    """Score against the references the run asked for, and lettered questions in both forms."""
    predictions, normalisation = draft.predictions, session.config.normalisation
    reason = _absent(session.config, session.model.record, predictions)
    if reason is not None:
        draft.quality = Quality(
            samples=len(predictions), normalisation=normalisation, reason=reason
        )
        return
    draft.quality = score(predictions, normalisation=normalisation)
    draft.quality_by_form = {
        form: score(answered, normalisation=normalisation)
        for form in ("letter", "text")
        if (answered := _in_form(predictions, form))
    }


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
