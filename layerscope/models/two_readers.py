"""A model in; whether a Q-Former reads its text beside the language model, by a tokenizer of its own."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def reads_text_twice(model: nn.Module | type[nn.Module]) -> bool:
    """Whether `forward` takes the text's ids for a Q-Former beside those for the language model."""
    return "qformer_input_ids" in inspect.signature(model.forward).parameters
