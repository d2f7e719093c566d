"""A check in, its `Check` out, or one that says why it could not run: none may hide the others."""

from __future__ import annotations

from collections.abc import Callable

from layerscope.core.errors import LayerscopeError
from layerscope.core.words import first_line
from layerscope.records.work import Check


def attempted(name: str, check: Callable[[], Check], doing: str = "") -> Check:
    """The check's result; a `Check` without numbers where it raised.

    What a tracer raises is not ours to list: torch.jit.trace alone ends in RuntimeError, TypeError,
    AttributeError and more.

    Args:
        name: of the `Check` where it did not run.
        doing: what was attempted, as in "while tracing".
    """
    try:
        return check()
    except Exception as error:
        return absent(name, reason_of(error, doing))


def absent(name: str, reason: str) -> Check:
    """A check that did not run."""
    return Check(name=name, ours=None, theirs=None, compared=0, reason=reason)


def reason_of(error: Exception, doing: str = "") -> str:
    """One line about what was raised; layerscope's own errors are sentences already."""
    if isinstance(error, LayerscopeError):
        return first_line(error, silent="", longest=None)
    said = first_line(error, silent="")
    return f"{type(error).__name__}{doing and f' {doing}'}: {said}"
