"""A batch and what was generated for it in, a prediction for each of its samples out."""

from __future__ import annotations

from typing import Any

from layerscope.records import Prediction
from layerscope.workload.batching import Batch
from layerscope.workload.generation import Generated


def predictions_of(processor: Any, batch: Batch, generated: Generated) -> tuple[Prediction, ...]:
    """The answers as texts, without special tokens and surrounding spaces, beside their references.

    Args:
        processor: decodes the tokens.
    """
    texts = processor.batch_decode(generated.tokens, skip_special_tokens=True)
    return tuple(
        Prediction(
            sample_id=sample.sample_id,
            batch=batch.record.index,
            prompt=sample.prompt,
            prediction=text.strip(),
            references=sample.references,
            new_tokens=length,
            letter_reference=sample.letter_reference,
            text_reference=sample.text_reference,
        )
        for sample, text, length in zip(batch.samples, texts, generated.new_tokens, strict=True)
    )
