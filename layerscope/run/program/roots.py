"""The modules of a program that are called by no other module's call, and which of them is the model."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from layerscope.run.program.asked import Asked

# Calls that are tried where a window cannot begin: a program that profiles itself may be done with it.
_MOST_TRIES = 10
_MOST_ROOTS = 512


class Root:
    """A module that is called by no other module's call, and how often it has been."""

    def __init__(self, module: torch.nn.Module, generates: bool) -> None:
        self.module = weakref.ref(module)
        self.name = type(module).__name__
        self.generates = generates
        self.calls = 0
        self.windows = 0
        self.last_traced = 0
        self.tries = 0
        self.compiling: Any = None  # what notes which layers its compiled code comes from
        self.weigh()

    def weigh(self) -> None:
        """Count its parameters; lazy ones have their shapes only behind the first call."""
        module = self.module()
        found = module.parameters() if module is not None else ()
        self.params = sum(p.numel() for p in found if not is_lazy(p))

    def is_named(self, name: str) -> bool:
        """Whether this is its class's name, or module.name."""
        module = self.module()
        cls = type(module)
        return module is not None and name in (cls.__name__, f"{cls.__module__}.{cls.__qualname__}")


class Roots:
    """All of them."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._known: dict[tuple[int, bool], Root] = {}

    def __iter__(self) -> Iterator[Root]:
        return iter(tuple(self._known.values()))

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: tuple[int, bool]) -> bool:
        return key in self._known

    def find(self, module: torch.nn.Module, generates: bool) -> Root | None:
        """What is known of this module; None where nothing is."""
        root = self._known.get((id(module), generates))
        return root if root is not None and root.module() is module else None

    def add(self, module: torch.nn.Module, generates: bool) -> Root:
        """A module that was not known."""
        if len(self._known) >= _MOST_ROOTS:
            # Modules that are made anew for every step must not be kept count of for ever.
            self._known = {key: r for key, r in self._known.items() if r.module() is not None}
        root = self._known[id(module), generates] = Root(module, generates)
        return root

    def is_wanted(self, root: Root, *, now: bool) -> bool:
        """Whether the call of this root that begins is to be traced.

        Args:
            now: the next call of the model was asked for, whatever its number.
        """
        if not now and not self._is_due(root):  # first, as it costs least and is seldom true
            return False
        asked = self._asked
        if asked.model is not None and not root.is_named(asked.model):
            return False
        others = [other for other in self._known.values() if other is not root]
        if asked.model is None and any(other.params > root.params for other in others):
            return False
        # Of several as large the first is the model.
        return not any(other.windows and other.params >= root.params for other in others)

    def _is_due(self, root: Root) -> bool:
        asked = self._asked
        if not root.windows:
            return root.calls >= asked.step and root.tries < _MOST_TRIES
        return asked.every is not None and root.calls - root.last_traced >= asked.every
