"""A package in, the modules in its folder out: what is found by being there needs no list."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType


def modules_in(package: str) -> Iterator[ModuleType]:
    """The modules and packages directly in a package, imported, in the order of their names."""
    folder = import_module(package).__path__
    for name in sorted(found.name for found in pkgutil.iter_modules(folder)):
        yield import_module(f"{package}.{name}")
