"""What a pass tells of its steps while it runs: the protocol alone, so that no pass knows a console."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Is told of passes, one after the other."""

    def task(self, name: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Report one pass; the function in the `with` takes the number of steps just done.

        Args:
            name: what is done, as the user reads it, e.g. "measure: batches".
            total: steps in all; None when unknown.
        """
        ...
