"""`Quality`: what the answers of a run were worth, and one row per sample for `predictions.csv`."""

from __future__ import annotations

from dataclasses import dataclass, field

from layerscope.records.interval import Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictionScore:
    """One sample's answer against its references, under the normalisation of its `Quality`.

    Attributes:
        wer: errors over reference words; None when the first reference has no words and the
            prediction has some (0.0 when neither has any).
        errors: substitutions + deletions + insertions against the first reference.
        reference_words: words of the first reference.
        exact: whether the prediction equals any of the references.
    """

    sample_id: str
    batch: int
    prompt: str
    prediction: str
    references: tuple[str, ...]
    wer: float | None
    errors: int
    reference_words: int
    exact: bool


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Scores of all samples of a run. `None` means undefined, and a reason says why.

    Attributes:
        wer_value: corpus WER against the first reference that has a word: errors over words.
        wer_interval: of `wer_value`, answers being the sampled units; those of the accuracies alike.
        wer_mean: mean of the samples' own WER, over the `wer_mean_samples` that have one.
        wer_best: corpus WER with each sample scored against its nearest reference.
        wer_by_normalisation: `wer_value` under every normalisation layerscope knows.
        exact_match: share of samples whose prediction equals one of the references.
        vqa_accuracy: the VQA evaluation's, over the samples with ten references.
        textvqa_accuracy: TextVQA's own, EvalAI's processing of answers, over the same samples.
        scienceqa_accuracy: share of right options, over the samples with lettered options.
    """

    samples: int
    normalisation: str
    wer_value: float | None = None
    wer_interval: Interval | None = None
    wer_mean: float | None = None
    wer_mean_interval: Interval | None = None
    wer_mean_samples: int = 0
    wer_best: float | None = None
    wer_best_interval: Interval | None = None
    wer_by_normalisation: dict[str, float] = field(default_factory=dict)
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference_words: int = 0
    exact_match: float | None = None
    exact_interval: Interval | None = None
    vqa_accuracy: float | None = None
    vqa_interval: Interval | None = None
    textvqa_accuracy: float | None = None
    textvqa_interval: Interval | None = None
    scienceqa_accuracy: float | None = None
    scienceqa_interval: Interval | None = None
    empty_predictions: int = 0
    empty_references: int = 0
    reason: str | None = None  # why `wer_value` is absent
    # Why each accuracy is absent, or which samples it leaves out.
    vqa_reason: str | None = None
    textvqa_reason: str | None = None
    scienceqa_reason: str | None = None
