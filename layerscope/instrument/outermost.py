"""Calls of a model and of the wrappers around it in, one call out: that of the outermost.

A wrapper's forward calls the next one's, down to the model's own: all of that is one call of the model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from threading import get_ident
from typing import Any

from torch.compiler import is_compiling

_Call = Callable[..., Any]


class Outermost:
    """Knows, by thread, which kind of call of the model is the innermost that is open."""

    def __init__(self) -> None:
        self._open: dict[int, str] = {}

    def only(self, call: _Call, ranged: _Call, kind: str) -> _Call:
        """`ranged` for the outermost call of this kind, `call` for one directly inside another.

        A call of another kind in between begins anew: a forward inside a generate() inside a forward.
        """

        @functools.wraps(call)
        def outermost(*args: Any, **kwargs: Any) -> Any:
            if is_compiling():
                return call(*args, **kwargs)
            thread = get_ident()
            before = self._open.get(thread)
            if before == kind:
                return call(*args, **kwargs)
            self._open[thread] = kind
            try:
                return ranged(*args, **kwargs)
            finally:
                if before is None:
                    del self._open[thread]
                else:
                    self._open[thread] = before

        return outermost
