"""What reading needs to know of a family of models, as plain data: one file a family, found by listing.

Most families need none. A file is for models whose traces may say no roles of their own, or whose
structure says how often each module is called. It declares

- `MODULES`: names that stand beside each other in such a model, and in no model of another structure;
- `ROLES`: the roles of its modules by these names;
- `DESCRIBED`: a module without which `demanded` does not hold;
- `demanded(fqn, cls)`: how often the structure calls a module.

What the model object itself is needed for stands in `models/families/`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Protocol, cast

from layerscope.core.listing import modules_in
from layerscope.core.roles import Roles


@dataclass(frozen=True, slots=True)
class Demand:
    """Calls of a module in a `generate()`: so many a batch, and so many a decoder step."""

    a_batch: int = 0
    a_step: int = 0


class Family(Protocol):
    """What a file here declares."""

    MODULES: Collection[str]
    ROLES: Roles
    DESCRIBED: str

    @staticmethod
    def demanded(fqn: str, cls: str) -> Demand:
        """How often the structure calls a module of this name and class."""


@dataclass(frozen=True, slots=True)
class Named:
    """A family that module names show, and where in the model it stands: "" or `wrapper.module.`."""

    family: Family
    prefix: str

    @property
    def roles(self) -> Roles:
        """The roles of the model's modules."""
        return {self.prefix + fqn: role for fqn, role in self.family.ROLES.items()}


@cache
def families() -> tuple[Family, ...]:
    """All that are there, in the order of their files' names."""
    return tuple(cast(Family, module) for module in modules_in(__name__))


def family_named(fqns: Iterable[str]) -> Named | None:
    """The family whose modules have these names, as they are or below wrappers; None where none has."""
    names = set(fqns)
    for family in families():
        prefixes = [_prefixes(names, module) for module in family.MODULES]
        shared = set.intersection(*prefixes)
        if shared:
            return Named(family, min(shared, key=lambda prefix: (len(prefix), prefix)))
    return None


def roles_by_name(fqns: Iterable[str]) -> Roles:
    """The roles that these names say; empty for those of no known family."""
    named = family_named(fqns)
    return {} if named is None else named.roles


@cache
def roles_of_any_name() -> Roles:
    """What each name means in the first family that has it: for layers of which nothing is known."""
    found: dict[str, str] = {}
    for family in families():
        for fqn, role in family.ROLES.items():
            found.setdefault(fqn, role)
    return cast(Roles, found)


def _prefixes(names: Collection[str], module: str) -> set[str]:
    """What stands before a module of this name wherever it, or something in it, is named."""
    found = set()
    for name in names:
        if module in name:
            dotted, wanted = f".{name}.", f".{module}."
            at = dotted.find(wanted)
            if at >= 0:
                found.add(dotted[1 : at + 1])
    return found
