"""A model in, the parts of it that are worth compiling out: found by role, not by name.

Towers, Q-Formers, projectors and encoders, and the language model, whose call is a decoder step. A part
of a single layer has nothing that could be fused, and stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerscope.core.roles import DECODER, PARTS, Roles, around, decoders, language_model_of
from layerscope.models.roles import roles_of

if TYPE_CHECKING:
    from torch import nn

WHAT_THEY_ARE = "a tower, a Q-Former, a projector or an encoder of several layers, a decoder"


@dataclass(frozen=True)
class ModelPart:
    """One part.

    Attributes:
        fqns: of the modules that may be it, from the outermost inwards: which of them is called only
            shows when the model runs (a whole language model, or the decoder in it).
        is_step: each of its calls is a decoder step.
    """

    fqns: tuple[str, ...]
    is_step: bool = False


def parts_of(model: nn.Module) -> tuple[ModelPart, ...]:
    """The parts of a model in the order in which they run; empty for one that says no roles."""
    roles, modules = roles_of(model), dict(model.named_modules())
    step = _step(roles)
    found = [
        fqn
        for role in PARTS[: PARTS.index(DECODER)]
        for fqn in roles
        if roles[fqn] == role and fqn in modules and any(True for _ in modules[fqn].children())
    ]
    parts = [ModelPart((fqn,)) for fqn in found if fqn not in step]
    if step:
        parts.append(ModelPart(tuple(fqn for fqn in step if fqn in modules), is_step=True))
    return tuple(parts)


def _step(roles: Roles) -> tuple[str, ...]:
    """From the language model inwards to its decoder; empty without one, or where it is the root."""
    outermost = language_model_of(roles)
    if not outermost:
        return ()
    decoder = decoders(roles)[0]
    chain = (*sorted(around([decoder]), key=len), decoder)
    return tuple(fqn for fqn in chain if fqn == outermost or fqn.startswith(f"{outermost}."))
