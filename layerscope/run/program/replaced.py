"""Methods of classes that are replaced for a while, and put back as they were."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

Call = Callable[..., Any]
CALL, GENERATE = "__call__", "generate"


class EveryModule:
    """`torch.nn.Module.__call__`, which every module without one of its own is called through.

    Args:
        call: takes its place, where and while it is put there.
    """

    def __init__(self, call: Call) -> None:
        self._call: Call | None = call
        self._before: Call = torch.nn.Module.__call__

    def put(self) -> None:
        """Put the call in place; nothing once it was given up."""
        if self._call is not None and torch.nn.Module.__call__ is self._before:
            torch.nn.Module.__call__ = self._call  # type: ignore[method-assign]

    def take(self) -> None:
        """Put back what was there, unless somebody else's call has come in its place."""
        if self._call is not None and torch.nn.Module.__call__ is self._call:
            torch.nn.Module.__call__ = self._before  # type: ignore[method-assign]

    def give_up(self) -> None:
        """Take it for good."""
        self.take()
        self._call = None

    @property
    def is_given_up(self) -> bool:
        """Whether the call is to do nothing any more, should somebody have kept it."""
        return self._call is None

    def beneath(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Call what the call stands in front of."""
        return self._before(module, *args, **kwargs)

    def plainly(self, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Call a module as the program would: by way of whoever else has replaced the call."""
        now = torch.nn.Module.__call__
        return (self._before if now is self._call else now)(module, *args, **kwargs)


class OfClasses:
    """Methods of the classes of roots.

    Args:
        every: what a class without a call of its own is called through.
    """

    def __init__(self, every: EveryModule) -> None:
        self._every = every
        self._own: dict[tuple[type, str], Call | None] = {}

    def put(self, cls: type, name: str, call: Callable[[Call], Call]) -> None:
        """Replace a method once; `call` makes the new one from the one that was there."""
        if (cls, name) in self._own:
            return
        self._own[cls, name] = cls.__dict__.get(name)
        before: Call = getattr(cls, name)
        inherited = name == CALL and not any(CALL in vars(base) for base in _below_module(cls))
        new = call(self._every.plainly if inherited else before)
        setattr(cls, name, functools.wraps(before)(new))

    def put_back(self) -> None:
        """Every class as it was."""
        while self._own:  # a signal's handler may put one meanwhile
            (cls, name), own = self._own.popitem()
            if own is None:
                delattr(cls, name)
            else:
                setattr(cls, name, own)


def _below_module(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if base is not torch.nn.Module and base is not object]
