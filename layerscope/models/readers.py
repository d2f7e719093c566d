"""A model in; who in it reads the text: an encoder, a Q-Former beside the language model, or neither."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def reads_text_twice(model: nn.Module | type[nn.Module]) -> bool:
    """Whether `forward` takes the text's ids for a Q-Former beside those for the language model."""
    return "qformer_input_ids" in inspect.signature(model.forward).parameters


def has_encoder(model: nn.Module) -> bool:
    """Whether an encoder reads the prompt, so that `generate()` returns the answer alone."""
    whole: Any = model.config
    # A T5 in a larger model says it in the text's configuration, Donut in the whole one's.
    parts = (whole, whole.get_text_config(decoder=True))
    return any(getattr(part, "is_encoder_decoder", False) for part in parts)
