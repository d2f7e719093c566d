"""What a pass tells of its steps while it runs: the protocol alone, so that no pass knows a console."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Is told of passes, one after the other."""

    def task(
        self, name: str, total: int | None = None, *, ticks: bool = False
    ) -> AbstractContextManager[Advance]:
        """Report one pass; the function in the `with` takes the number of steps just done.

        Args:
            name: what is done, as the user reads it, e.g. "measure: batches".
            total: steps in all; None when unknown.
            ticks: nothing is measured meanwhile, so the display may move on its own.
        """
        ...

    def ahead(self, passes: int, *, first: bool = False) -> None:
        """Say how many passes are still to be reported, the next one included.

        Args:
            first: none of this run has been reported before.
        """
        ...
