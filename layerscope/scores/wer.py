"""Word error rate and its companions: predictions with references in, `Quality` and rows out.

Alignments are jiwer's. Rules for empty texts, after normalisation: the first reference is the first
that has a word, since an annotator who wrote nothing gave no reference; where none has, the
prediction's words go into the errors and 0 into the reference words; an empty prediction deletes
every reference word; where no sample's reference has a word, the WER is absent with a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layerscope.records.interval import Interval
from layerscope.records.quality import PredictionScore, Quality
from layerscope.records.run_record import Prediction
from layerscope.scores import accuracy
from layerscope.scores.normalisation import DEFAULT, NORMALISATIONS, normalise
from layerscope.stats.error_rate import error_rate_interval, score_interval


@dataclass(frozen=True, slots=True)
class _Edits:
    """How one prediction turns into one reference."""

    substitutions: int
    deletions: int
    insertions: int
    words: int

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """Errors over words; 0 when both are empty, None when only the reference is."""
        if self.words:
            return self.errors / self.words
        return None if self.errors else 0.0


def score(predictions: Sequence[Prediction], *, normalisation: str = DEFAULT) -> Quality:
    """Score every prediction against its references.

    Args:
        normalisation: a name in `NORMALISATIONS`; applied to both sides before words are compared.
            The accuracies of evaluators process answers by their own rules, whatever it is.

    Raises:
        UsageError: no normalisation has that name.
    """
    edits = [_first_edits(item, normalisation) for item in predictions]
    words = sum(edit.words for edit in edits)
    rates = [rate for edit in edits if (rate := edit.rate) is not None]
    best = [_best_edits(item, normalisation) for item in predictions]
    best_words = sum(edit.words for edit in best)
    exact = [float(_is_exact(item, normalisation)) for item in predictions]
    vqa, textvqa = accuracy.vqa(predictions), accuracy.textvqa(predictions)
    scienceqa = accuracy.scienceqa(predictions)
    return Quality(
        samples=len(predictions),
        normalisation=normalisation,
        wer_value=sum(edit.errors for edit in edits) / words if words else None,
        wer_interval=_interval(edits),
        wer_mean=sum(rates) / len(rates) if rates and words else None,
        wer_mean_interval=error_rate_interval(rates, [1.0] * len(rates)) if words else None,
        wer_mean_samples=len(rates) if words else 0,
        wer_best=sum(edit.errors for edit in best) / best_words if best_words else None,
        wer_best_interval=_interval(best),
        wer_by_normalisation=_by_normalisation(predictions),
        substitutions=sum(edit.substitutions for edit in edits),
        deletions=sum(edit.deletions for edit in edits),
        insertions=sum(edit.insertions for edit in edits),
        reference_words=words,
        exact_match=sum(exact) / len(exact) if exact else None,
        exact_interval=score_interval(exact),
        vqa_accuracy=vqa.value,
        vqa_interval=vqa.interval,
        textvqa_accuracy=textvqa.value,
        textvqa_interval=textvqa.interval,
        scienceqa_accuracy=scienceqa.value,
        scienceqa_interval=scienceqa.interval,
        empty_predictions=sum(not normalise(p.prediction, normalisation) for p in predictions),
        empty_references=sum(edit.words == 0 for edit in edits),
        reason=None if words else _why_absent(predictions),
        vqa_reason=vqa.reason,
        textvqa_reason=textvqa.reason,
        scienceqa_reason=scienceqa.reason,
    )


def rows(
    predictions: Sequence[Prediction], *, normalisation: str = DEFAULT
) -> tuple[PredictionScore, ...]:
    """One row per sample, in the order given; texts as they came, numbers after normalisation."""
    found = []
    for item in predictions:
        edit = _first_edits(item, normalisation)
        found.append(
            PredictionScore(
                sample_id=item.sample_id,
                batch=item.batch,
                prompt=item.prompt,
                prediction=item.prediction,
                references=item.references,
                wer=edit.rate,
                errors=edit.errors,
                reference_words=edit.words,
                exact=_is_exact(item, normalisation),
            )
        )
    return tuple(found)


def vqa_accuracy(predictions: Sequence[Prediction]) -> tuple[float | None, str | None]:
    """Accuracy of the VQA evaluation; with it, why it is absent or which samples it leaves out."""
    found = accuracy.vqa(predictions)
    return found.value, found.reason


def textvqa_accuracy(predictions: Sequence[Prediction]) -> tuple[float | None, str | None]:
    """Accuracy of TextVQA's evaluator; with it, why it is absent or which samples it leaves out."""
    found = accuracy.textvqa(predictions)
    return found.value, found.reason


def _first_edits(item: Prediction, normalisation: str) -> _Edits:
    answer = normalise(item.prediction, normalisation)
    return _edits(answer, _worded(item, normalisation)[0])


def _worded(item: Prediction, normalisation: str) -> list[str]:
    """The references that have a word, normalised; one empty text where none has."""
    texts = [normalise(reference, normalisation) for reference in item.references]
    return [text for text in texts if text] or [""]


def _edits(prediction: str, reference: str) -> _Edits:
    """Edits between two normalised texts."""
    if not reference:
        return _Edits(0, 0, len(prediction.split()), 0)
    if not prediction:
        return _Edits(0, len(reference.split()), 0, len(reference.split()))
    import jiwer  # inside: importing it costs the command line 50 ms it seldom needs

    found = jiwer.process_words(reference, prediction)
    return _Edits(found.substitutions, found.deletions, found.insertions, len(reference.split()))


def _best_edits(item: Prediction, normalisation: str) -> _Edits:
    """Against the sample's nearest reference: lowest rate, the first on ties."""
    answer = normalise(item.prediction, normalisation)
    choices = [_edits(answer, text) for text in _worded(item, normalisation)]
    return min(choices, key=lambda e: float("inf") if e.rate is None else e.rate)


def _interval(edits: Sequence[_Edits]) -> Interval | None:
    return error_rate_interval([e.errors for e in edits], [e.words for e in edits])


def _by_normalisation(predictions: Sequence[Prediction]) -> dict[str, float]:
    found = {}
    for name in NORMALISATIONS:
        edits = [_first_edits(item, name) for item in predictions]
        words = sum(edit.words for edit in edits)
        if words:
            found[name] = sum(edit.errors for edit in edits) / words
    return found


def _is_exact(item: Prediction, normalisation: str) -> bool:
    if not item.references:
        return False
    return normalise(item.prediction, normalisation) in _worded(item, normalisation)


def _why_absent(predictions: Sequence[Prediction]) -> str:
    if not predictions:
        return "no predictions to score"
    return "no sample's first reference has a word after normalisation, so there is no denominator"
