"""Families of models that are exceptions: one file, or one folder, each, found by listing.

Most models say themselves what their modules are for, and need no file. A file declares what it has to
say, and all of it may be left out:

- `MODEL_TYPES`: the model types, as a config says them, whose family it is; its own name where it says
  none (`-` in a model type is `_` in a file name);
- `EXCEPTIONS`: FQN -> role, of modules whose role the model's own methods do not tell;
- `FLAT_TILES`: its images are tiles of one side, those of all images one after another;
- `CLOSED_FORM`: its FLOPs from its sizes, a `models.closed_form.ClosedForm`.

A package of one's own brings its file under the entry point group `layerscope.families`, which names the
module. What is not declared is absent, with the reason. What reading needs of a family stands in
`core/families/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any

from layerscope.core.errors import EnvironmentProblem, LayerscopeError
from layerscope.core.listing import modules_in
from layerscope.core.words import first_line

if TYPE_CHECKING:
    from torch import nn

_GROUP = "layerscope.families"


def family_of(model_type: str) -> ModuleType | None:
    """The file of a family; None for a model that needs none."""
    return _by_model_type().get(model_type)


def family_of_model(model: nn.Module) -> ModuleType | None:
    """The file of a model's family, by the model type that its config says."""
    config = getattr(model, "config", None)
    return family_of(str(getattr(config, "model_type", "")))


def declared(what: str) -> Iterator[Any]:
    """Every family's declaration of this name, in the order of the families' files."""
    for family in _files():
        if hasattr(family, what):
            yield getattr(family, what)


@cache
def _files() -> tuple[ModuleType, ...]:
    """Ours, in the order of their names, and behind them what installed packages bring.

    Raises:
        EnvironmentProblem: such a package cannot be imported.
    """
    found = list(modules_in(__name__))
    for point in entry_points(group=_GROUP):
        try:
            found.append(point.load())
        except Exception as error:  # whatever a package raises at its import
            raise EnvironmentProblem(
                f"the entry point {point.name} = {point.value} of {_GROUP} cannot be imported "
                f"({first_line(error)}); mend or remove the package that brings it."
            ) from error
    return tuple(found)


@cache
def _by_model_type() -> dict[str, ModuleType]:
    found: dict[str, ModuleType] = {}
    for family in _files():
        name = family.__name__.rpartition(".")[2]
        for model_type in getattr(family, "MODEL_TYPES", (name, name.replace("_", "-"))):
            other = found.setdefault(model_type, family)
            if other is not family:
                raise LayerscopeError(
                    f"models/families: {other.__name__.rpartition('.')[2]} and {name} both declare "
                    f"the model type {model_type!r}; one of them must not."
                )
    return found
