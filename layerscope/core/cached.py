"""A method in, an attribute out that is computed on first use: `functools.cached_property`, no lock.

Python 3.11's holds one lock for all objects of a class: while one run's trace is read, no other run's
could be. Later versions have none, and two threads may then compute the same value, each its own.
"""

from __future__ import annotations

import functools
from typing import Any, Self, TypeVar, overload

T = TypeVar("T")


class cached_property(functools.cached_property[T]):  # noqa: N801  # stands where the library's does
    """Compute the value on first use and keep it under the same name in the object's `__dict__`."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...
    def __get__(self, instance: object, owner: type[Any] | None = None) -> Self | T:
        if instance is None:
            return self
        kept, name = instance.__dict__, self.attrname
        assert name is not None
        if name not in kept:
            kept[name] = self.func(instance)
        found: T = kept[name]
        return found
