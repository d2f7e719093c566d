"""A model in, its towers out: what takes in pixels or sound.

transformers' models say it in two ways. `get_encoder("image")` gives one tower, by the attribute names
that most models have; a class names its main input itself (`main_input_name`), which finds a second
tower, one inside an encoder or a decoder, and encoders that are towers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from layerscope.core.roles import Role

if TYPE_CHECKING:
    from torch import nn

_MODALITIES: tuple[tuple[str, Role], ...] = (("image", "vision"), ("audio", "audio"))
_TAKEN_IN: dict[str, Role] = {
    "pixel_values": "vision",
    "pixel_values_videos": "vision",
    "flattened_patches": "vision",
    "input_features": "audio",
    "input_values": "audio",
}


def towers_of(
    model: Any,
    encoder: nn.Module | None,
    decoder: nn.Module | None,
    asked: Callable[[nn.Module, Callable[[], Any]], Any],
) -> Iterator[tuple[nn.Module, Role]]:
    """Each tower with its role, outermost modules only.

    Args:
        encoder: what the model says encodes its text; a tower may lie in it, and it is none itself.
        decoder: what holds it is no tower, whatever it takes in.
        asked: asks a module something, None where it has no answer.
    """
    inside: set[int] = set()

    def new(tower: nn.Module) -> bool:
        if id(tower) in inside:
            return False
        inside.update(id(module) for module in tower.modules())
        return True

    for modality, role in _MODALITIES:
        tower = asked(model, partial(_tower_said, model, modality))
        if tower is not None and tower is not encoder and new(tower):
            yield tower, role
    for module in model.modules():
        said = _TAKEN_IN.get(getattr(type(module), "main_input_name", ""))
        if said is None or module is model or _holds(module, decoder):
            continue
        if new(module):
            yield module, said


def _tower_said(model: Any, modality: str) -> Any:
    return model.get_encoder(modality)


def _holds(outer: nn.Module, inner: nn.Module | None) -> bool:
    return inner is not None and any(module is inner for module in outer.modules())
