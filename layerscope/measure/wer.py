"""Word error rate and its companions: predictions with references in, `Quality` and rows out.

Alignments are jiwer's. Rules for empty texts, after normalisation: a first reference without words
puts the prediction's words into the errors and 0 into the reference words; an empty prediction
deletes every reference word; where no first reference has a word, the WER is absent with a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from layerscope.measure.normalisation import DEFAULT, NORMALISATIONS, VQA, normalise
from layerscope.measure.statistics import ratio_interval
from layerscope.records.interval import Interval
from layerscope.records.quality import PredictionScore, Quality
from layerscope.records.run_record import Prediction

_VQA_ANNOTATORS = 10
_VQA_AGREEING = 3


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


def score(
    predictions: Sequence[Prediction], *, normalisation: str = DEFAULT, seed: int = 0
) -> Quality:
    """Score every prediction against its references.

    Args:
        normalisation: a name in `NORMALISATIONS`; applied to both sides before words are compared.
            VQA accuracy always uses `vqa`, the form its definition demands.
        seed: of the bootstrap behind `wer_interval`.

    Raises:
        UsageError: no normalisation has that name.
    """
    edits = [_first_edits(item, normalisation) for item in predictions]
    words = sum(edit.words for edit in edits)
    rates = [rate for edit in edits if (rate := edit.rate) is not None]
    vqa, vqa_reason = vqa_accuracy(predictions)
    return Quality(
        samples=len(predictions),
        normalisation=normalisation,
        wer_value=sum(edit.errors for edit in edits) / words if words else None,
        wer_interval=_from_nought(
            ratio_interval(
                [edit.errors for edit in edits], [edit.words for edit in edits], seed=seed
            )
        ),
        wer_mean=sum(rates) / len(rates) if rates and words else None,
        wer_mean_samples=len(rates) if words else 0,
        wer_best=_best_wer(predictions, normalisation),
        wer_by_normalisation=_by_normalisation(predictions),
        substitutions=sum(edit.substitutions for edit in edits),
        deletions=sum(edit.deletions for edit in edits),
        insertions=sum(edit.insertions for edit in edits),
        reference_words=words,
        exact_match=_exact_match(predictions, normalisation),
        vqa_accuracy=vqa,
        empty_predictions=sum(not normalise(p.prediction, normalisation) for p in predictions),
        empty_references=sum(edit.words == 0 for edit in edits),
        reason=None if words else _why_absent(predictions),
        vqa_reason=vqa_reason,
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
    """VQA soft accuracy (Antol et al. 2015) and, when it is absent, the reason.

    Per sample: for each of the ten annotators, min(1, matches among the other nine / 3); the mean
    of the ten. With another number of references three agreeing annotators mean something else,
    so the value is then absent rather than generalised.
    """
    if not predictions:
        return None, "no predictions"
    odd = {len(p.references) for p in predictions} - {_VQA_ANNOTATORS}
    if odd:
        counts = ", ".join(str(count) for count in sorted(odd))
        return None, (
            f"VQA accuracy is defined for {_VQA_ANNOTATORS} annotators' answers a sample; "
            f"this data has samples with {counts}."
        )
    return sum(_vqa_score(item) for item in predictions) / len(predictions), None


def _vqa_score(item: Prediction) -> float:
    answer = normalise(item.prediction, VQA)
    answers = [normalise(reference, VQA) for reference in item.references]
    matches = Counter(answers)[answer]
    left_out = (matches - (own == answer) for own in answers)
    return sum(min(1.0, count / _VQA_AGREEING) for count in left_out) / len(answers)


def _from_nought(interval: Interval | None) -> Interval | None:
    """A rate of errors is not negative, which few samples' interval does not know; nor is 1e-18 one."""
    if interval is None or interval.low >= 1e-9:
        return interval
    return replace(interval, low=0.0)


def _first_edits(item: Prediction, normalisation: str) -> _Edits:
    first = item.references[0] if item.references else ""
    return _edits(normalise(item.prediction, normalisation), normalise(first, normalisation))


def _edits(prediction: str, reference: str) -> _Edits:
    """Edits between two normalised texts."""
    if not reference:
        return _Edits(0, 0, len(prediction.split()), 0)
    if not prediction:
        return _Edits(0, len(reference.split()), 0, len(reference.split()))
    import jiwer  # inside: importing it costs the command line 50 ms it seldom needs

    found = jiwer.process_words(reference, prediction)
    return _Edits(found.substitutions, found.deletions, found.insertions, len(reference.split()))


def _best_wer(predictions: Sequence[Prediction], normalisation: str) -> float | None:
    """Corpus WER with each sample against its nearest reference: lowest rate, the first on ties."""
    errors = words = 0
    for item in predictions:
        answer = normalise(item.prediction, normalisation)
        choices = [_edits(answer, normalise(r, normalisation)) for r in item.references]
        if not choices:
            choices = [_edits(answer, "")]
        best = min(choices, key=lambda e: float("inf") if e.rate is None else e.rate)
        errors += best.errors
        words += best.words
    return errors / words if words else None


def _by_normalisation(predictions: Sequence[Prediction]) -> dict[str, float]:
    found = {}
    for name in NORMALISATIONS:
        edits = [_first_edits(item, name) for item in predictions]
        words = sum(edit.words for edit in edits)
        if words:
            found[name] = sum(edit.errors for edit in edits) / words
    return found


def _is_exact(item: Prediction, normalisation: str) -> bool:
    answer = normalise(item.prediction, normalisation)
    return any(normalise(reference, normalisation) == answer for reference in item.references)


def _exact_match(predictions: Sequence[Prediction], normalisation: str) -> float | None:
    if not predictions:
        return None
    return sum(_is_exact(item, normalisation) for item in predictions) / len(predictions)


def _why_absent(predictions: Sequence[Prediction]) -> str:
    if not predictions:
        return "no predictions to score"
    return "no sample's first reference has a word after normalisation, so there is no denominator"
