"""`Loading`: how a family's models are loaded, as its file declares it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from layerscope.models.families import declared


@dataclass(frozen=True, kw_only=True)
class Loading:
    """The classes of transformers that a family's checkpoints are made of, by name.

    Attributes:
        name: of the family, as people write it.
        model_type: as config.json says it.
        set_up: called with a model whose weights have just been drawn: sets what the model's own
            initialisation leaves at zero, given the standard deviation to use.
    """

    name: str
    model_type: str
    config_class: str
    model_class: str
    processor_class: str
    set_up: Callable[[Any, float], None]


def transformers_class(name: str) -> Any:
    """A class of transformers by its name."""
    return getattr(import_module("transformers"), name)


def loadings() -> tuple[Loading, ...]:
    """Of every family that `layerscope profile` can load, in the order of their files."""
    return tuple(declared("LOADING"))


def loading_of(model_type: object) -> Loading | None:
    """How models of this type are loaded; None where no family's file says it."""
    return next((found for found in loadings() if found.model_type == model_type), None)
