"""Roles of a model's modules, and the phase that follows from a role.

A role says what a module is for: the vision tower, the decoder, its head. It is found on the model
object, saved with the run and in the trace, and is all that an account needs to tell phases: no rule
here knows a model by its names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

Role = Literal[
    "vision", "audio", "qformer", "projection", "encoder", "decoder", "head", "embedding"
]
# FQN -> role. A module without a role is of the nearest one around it.
Roles = Mapping[str, Role]

# A role whose modules are always of one phase; those of the others follow the decoder's step.
_PHASE_OF: dict[Role, str] = {
    "vision": "vision",
    "audio": "audio",
    "qformer": "qformer",
    "projection": "projection",
    "encoder": "encoder",
}
# What stands before the decoder and is no part of its step, though its call may lie inside.
APART: frozenset[Role] = frozenset({"vision", "audio", "qformer", "projection"})
# The phases of a decoder step, and the parts that a step is made of.
STEP_PHASES = ("prefill", "decode")
DECODER, HEAD, REST = "decoder", "lm_head", "other"
# The parts of a model, in the order in which they run: each moves its weights once a call, the parts of
# a step once a step.
PARTS = ("vision", "audio", "qformer", "projection", "encoder", DECODER, HEAD, REST)


def role_of(fqn: str, roles: Roles) -> Role | None:
    """The role of a module, or of the nearest module around it that has one."""
    return roles.get(_holder(fqn, roles))


def inside_role(fqn: str, roles: Roles) -> str:
    """A module's name below the module whose role it has; "" for that module, or without a role."""
    above = _holder(fqn, roles)
    return fqn[len(above) + 1 :] if above else ""


def _holder(fqn: str, roles: Roles) -> str:
    """The module, this one or the nearest around it, that has a role; "" without any."""
    while fqn and fqn not in roles:
        fqn = fqn.rpartition(".")[0]
    return fqn


def fixed_phase(role: Role | None) -> str | None:
    """The phase that a role always has; None where the decoder's step decides."""
    return _PHASE_OF.get(role) if role is not None else None


def part_of(role: Role | None, phase: str) -> str:
    """The part of the model that a module of this role is in while it runs in this phase."""
    if phase not in STEP_PHASES:
        return phase
    return HEAD if role == "head" else DECODER


def decoders(roles: Roles) -> tuple[str, ...]:
    """The modules each call of which is a decoder step."""
    return tuple(fqn for fqn, role in roles.items() if role == "decoder")


def language_model_of(roles: Roles) -> str:
    """The outermost module around the decoder that holds nothing of what stands before a step; "" for
    the model itself, as where there is no decoder."""
    apart = around([fqn for fqn, role in roles.items() if role in APART])
    for decoder in decoders(roles):
        whole = [fqn for fqn in (*around([decoder]), decoder) if fqn not in apart]
        return min(whole, key=len, default=decoder)  # a tower may lie in the decoder itself
    return ""


def around(fqns: Collection[str]) -> frozenset[str]:
    """Every module around these, but for the root."""
    found = set()
    for fqn in fqns:
        while above := fqn.rpartition(".")[0]:
            found.add(above)
            fqn = above
    return frozenset(found)
