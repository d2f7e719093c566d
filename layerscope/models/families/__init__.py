"""Families of models that are exceptions: one file, or one folder, each, found by listing.

Most models say themselves what their modules are for, and need no file. A file declares what it has to
say, and all of it may be left out:

- `MODEL_TYPES`: the model types, as a config says them, whose family it is; its own name where it says
  none (`-` in a model type is `_` in a file name);
- `EXCEPTIONS`: FQN -> role, of modules whose role the model's own methods do not tell;
- `LOADING`: how `layerscope profile` loads it, a `models.loading.Loading`;
- `GENERATE_WITH`: what its `generate()` is to be told in a run, beside the run's own settings;
- `CLOSED_FORM`: its FLOPs from its sizes, a `models.closed_form.ClosedForm`.

What is not declared is absent, with the reason. What reading needs of a family stands in
`core/families/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from layerscope.core.errors import LayerscopeError
from layerscope.core.listing import modules_in

if TYPE_CHECKING:
    from torch import nn


def family_of(model_type: str) -> ModuleType | None:
    """The file of a family; None for a model that needs none."""
    return _by_model_type().get(model_type)


def family_of_model(model: nn.Module) -> ModuleType | None:
    """The file of a model's family, by the model type that its config says."""
    config = getattr(model, "config", None)
    return family_of(str(getattr(config, "model_type", "")))


def declared(what: str) -> Iterator[Any]:
    """Every family's declaration of this name, in the order of the families' files."""
    for family in modules_in(__name__):
        if hasattr(family, what):
            yield getattr(family, what)


@cache
def _by_model_type() -> dict[str, ModuleType]:
    found: dict[str, ModuleType] = {}
    for family in modules_in(__name__):
        name = family.__name__.rpartition(".")[2]
        for model_type in getattr(family, "MODEL_TYPES", (name, name.replace("_", "-"))):
            other = found.setdefault(model_type, family)
            if other is not family:
                raise LayerscopeError(
                    f"models/families: {other.__name__.rpartition('.')[2]} and {name} both declare "
                    f"the model type {model_type!r}; one of them must not."
                )
    return found
