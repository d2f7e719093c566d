"""How often `generate()` ran: one counter for all generators of a run."""

from __future__ import annotations


class Calls:
    """Counts up. The generators of a run share one."""

    def __init__(self) -> None:
        self.count = 0
