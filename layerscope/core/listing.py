"""A package in, the modules in its folder out: what is found by being there needs no list."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any


def modules_in(package: str) -> Iterator[ModuleType]:
    """The modules and packages directly in a package, imported, in the order of their names."""
    folder = import_module(package).__path__
    for name in sorted(found.name for found in pkgutil.iter_modules(folder)):
        yield import_module(f"{package}.{name}")


def declared_in(package: str, attribute: str) -> dict[str, Any]:
    """Module name -> its `attribute`, for every module of a package, by name.

    The package is named and not imported by a statement: it may stand on a higher floor.

    Raises:
        TypeError: a module declares nothing under that name.
    """
    found = {}
    for module in modules_in(package):
        if not hasattr(module, attribute):
            raise TypeError(f"{module.__name__}: declares no {attribute}.")
        found[module.__name__.rpartition(".")[2]] = getattr(module, attribute)
    return found
