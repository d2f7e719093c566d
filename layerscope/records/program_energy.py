"""`ProgramEnergy`: energy counters as they were read between the calls of somebody's program."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_CALLS = 5
NEAR = 0.15  # of the mean: calls that lie so near it are as long as the others


@dataclass(frozen=True, kw_only=True, slots=True)
class EnergyReading:
    """All counters at one border of calls.

    Attributes:
        time_ns: monotonic.
        joules: of each counter, in the order of `ProgramEnergy.sources`.
        calls: that have ended since the stretch began.
        in_calls_ns: what those took.
    """

    time_ns: int
    joules: tuple[float, ...]
    calls: int
    in_calls_ns: int


@dataclass(frozen=True, kw_only=True)
class ProgramEnergy:
    """What was read while untraced calls like the traced one followed one another.

    Attributes:
        sources: one sentence a counter.
        whole_steps: a call lasts until the next one begins: a training step, or a call that returns
            before a GPU is done. Else from its beginning to its end.
        stretches: each of calls of one shape, one after the other; the first reading opens it.
        calls: that were like the traced one, those behind the last reading of a stretch included.
        near: how many of them lay near the mean of those before them.
        unlike: calls of other shapes that came meanwhile.
        others: who else used what the counters count, in words; "" where nobody did, None where it
            is not known.
        counter_step_s: time between two moves of the slowest counter; None where it was not seen.
        reason: why there is nothing to derive; None where the readings may tell.
    """

    sources: tuple[str, ...] = ()
    whole_steps: bool = False
    stretches: tuple[tuple[EnergyReading, ...], ...] = ()
    calls: int = 0
    near: int = 0
    unlike: int = 0
    others: str | None = None
    counter_step_s: float | None = None
    reason: str | None = None
