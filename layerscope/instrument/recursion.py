"""A model's names in, Python's limit of recursion raised by its wrappers' frames out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_FRAMES_PER_LEVEL = 4  # two of Python, and what their calls cost in C
# Most models are called through fewer levels than this; nothing is changed for them.
_SHALLOW = 20


@contextmanager
def room_for_wrappers(fqns: Iterable[str]) -> Iterator[None]:
    """A model that just fits the limit still does with a wrapper on each of its nested modules."""
    levels = max((fqn.count(".") + 1 for fqn in fqns), default=0)
    before = sys.getrecursionlimit()
    raised = before + _FRAMES_PER_LEVEL * levels
    if levels > _SHALLOW:
        sys.setrecursionlimit(raised)
    try:
        yield
    finally:
        if levels > _SHALLOW and sys.getrecursionlimit() == raised:
            sys.setrecursionlimit(before)
