"""Modules by name in, the kind of each out: its FQN with `*` for numbers that say nothing but a place.

A number becomes `*` where the modules that differ by it alone are of one class and hold as many
parameters of one dtype themselves, as the blocks of a stack do: `encoder.block.*.layer.0.SelfAttention`.
The records hold sizes, not shapes, of parameters. A number that tells unlike modules apart stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

STAR = "*"


@dataclass(frozen=True, slots=True)
class Module:
    """What tells a module from its siblings; None where a trace alone does not say."""

    cls: str
    params: int | None = None
    dtype: str | None = None


def layer_kinds(modules: Mapping[str, Module]) -> dict[str, str]:
    """FQN -> kind, of every module given.

    Args:
        modules: FQN -> what it is. A sibling that is missing is not compared.
    """
    alike = _alike(modules)
    return {fqn: _kind(fqn, alike) for fqn in modules}


def _alike(modules: Mapping[str, Module]) -> set[str]:
    """The names around numbers whose modules are all alike, two of them at least."""
    siblings: dict[str, list[Module]] = {}
    for fqn, module in modules.items():
        around, _, last = fqn.rpartition(".")
        if last.isdecimal():
            siblings.setdefault(around, []).append(module)
    return {around for around, held in siblings.items() if len(held) > 1 and len(set(held)) == 1}


def _kind(fqn: str, alike: Iterable[str]) -> str:
    parts = fqn.split(".")
    found = [
        STAR if part.isdecimal() and ".".join(parts[:at]) in alike else part
        for at, part in enumerate(parts)
    ]
    return ".".join(found)
