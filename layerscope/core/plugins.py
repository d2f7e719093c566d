"""A package in, what each of its files declares out: a new file is found with nothing else changed."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any


def declared_in(package: str, attribute: str) -> dict[str, Any]:
    """Module name -> its `attribute`, for every module of a package, by name.

    The package is named and not imported by a statement: it may stand on a higher floor.

    Raises:
        TypeError: a module declares nothing under that name.
    """
    found = {}
    folder = importlib.import_module(package)
    for name in sorted(module.name for module in pkgutil.iter_modules(folder.__path__)):
        module = importlib.import_module(f"{package}.{name}")
        if not hasattr(module, attribute):
            raise TypeError(f"{package}.{name}: declares no {attribute}.")
        found[name] = getattr(module, attribute)
    return found
