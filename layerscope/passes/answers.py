"""What was generated for each sample, as text."""

from __future__ import annotations

from typing import Any

from layerscope.passes.draft import Draft
from layerscope.passes.session import Session
from layerscope.records import Prediction
from layerscope.workload.batching import Batch
from layerscope.workload.generation import Generated


def answers(session: Session, draft: Draft) -> None:
    """Decode what the measured batches generated; nothing without a processor."""
    processor = session.model.processor
    if processor is not None:
        draft.predictions = tuple(
            prediction
            for item in draft.batches
            for prediction in predictions_of(processor, item.batch, item.generated)
        )


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
