"""InstructBLIP by its module names: for traces that say no roles of their own.

Those of older versions, and any whose ranges carry these names. A model that is there says its roles
itself: `models.roles`.
"""

from __future__ import annotations

from collections.abc import Iterable

from layerscope.core.groups import module_group
from layerscope.core.roles import Role, Roles, fixed_phase, role_of

_BY_NAME: dict[str, Role] = {
    "vision_model": "vision",
    "qformer": "qformer",
    "language_projection": "projection",
    "language_model.shared": "encoder",  # it embeds the prompt
    "language_model.encoder": "encoder",
    "language_model.decoder": "decoder",
    "language_model.model": "decoder",  # of a language model without encoder
    "language_model.lm_head": "head",
}


def is_instructblip(fqns: Iterable[str]) -> bool:
    """Whether these module names are InstructBLIP's: vision tower, Q-Former and a language model."""
    tops = {fqn.split(".", 1)[0] for fqn in fqns}
    return {"vision_model", "qformer", "language_model"} <= tops


def roles_by_name(fqns: Iterable[str]) -> Roles:
    """The roles of InstructBLIP's modules; empty for names that are not its."""
    return dict(_BY_NAME) if is_instructblip(fqns) else {}


def step_of(fqn: str) -> bool:
    """Whether a call of this module is one decoder step (it runs once per token)."""
    return fqn == "language_model"


def static_phase_of(fqn: str) -> str | None:
    """The phase that a module always belongs to, or None when its decoder step decides."""
    fixed = fixed_phase(role_of(fqn, _BY_NAME))
    if fixed is not None:
        return fixed
    return None if fqn.partition(".")[0] == "language_model" else "other"


def group_of(fqn: str, cls: str = "") -> str:
    """The group of a module, by its FQN and, where the FQN does not say, by its class name."""
    return module_group(fqn, cls, _BY_NAME)
