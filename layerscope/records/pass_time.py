"""`PassTime`: one part of a run's command, as the command spent its own time."""

from __future__ import annotations

from dataclasses import dataclass

START = "start"  # of the process: the interpreter and its imports, before the run begins
LOAD = "load"


@dataclass(frozen=True, kw_only=True, slots=True)
class PassTime:
    """When a part of the command began, how long it took, and what it ran.

    Attributes:
        name: of the pass; `start` and `load` are what comes before the first.
        start_s: since the command's process began; since the run began where another run came before
            it in the process, as in a sweep.
        wall_s: from its beginning to its end.
        cpu_s: CPU time of the process meanwhile, all threads together.
        batches: how often it ran `generate()`: with the device's time of a batch, what the device did
            at least.
    """

    name: str
    start_s: float
    wall_s: float
    cpu_s: float
    batches: int = 0
