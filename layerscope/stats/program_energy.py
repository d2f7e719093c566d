"""Joules per call of somebody's program: counters read between its calls in, a summary out.

A reading at an arbitrary moment shows a counter as it was up to one of its steps ago, and a counter may
lag by another. Nobody's program waits for edges; instead many calls lie between two readings, and two
steps at the mean power are the error.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from layerscope.core.units import NS_PER_S
from layerscope.core.words import counted
from layerscope.records.interval import Interval
from layerscope.records.program_energy import LEAST_CALLS, NEAR, EnergyReading, ProgramEnergy
from layerscope.stats.statistics import ratio_interval

LEAST_NEAR = 0.9  # of the calls
LEAST_IN_CALLS = 0.9  # of the time between readings
MOST_ERROR = 0.1  # of the joules
_STEPS_LATE = 2
_MOST_PARTS = 7  # of an interval


@dataclass(frozen=True, kw_only=True, slots=True)
class CallEnergy:
    """One call's energy. `None` with `reason` set: not measured.

    Attributes:
        interval: of `joules_per_call`, what lies between readings as the sampled units; `counter_error`
            is in it.
        counter_error: share of it that the counter's steps may account for.
        mean_w: over all the time between readings.
        calls: between the first and the last readings.
        between_calls: share of the time that lies between calls, whose joules are in it, too.
    """

    joules_per_call: float | None = None
    interval: Interval | None = None
    counter_error: float | None = None
    mean_w: float | None = None
    calls: int = 0
    span_s: float = 0.0
    between_calls: float | None = None
    reason: str | None = None


def summarise_program_energy(energy: ProgramEnergy) -> CallEnergy:
    """Derive joules per call, or say why they cannot be."""
    parts = list(_parts(energy))
    calls = sum(part.calls for part in parts)
    span_s = sum(part.span_s for part in parts)
    reason = energy.reason or energy.others or _unsteady(energy, calls) or None
    if reason is not None:
        return CallEnergy(calls=calls, span_s=span_s, reason=reason)
    joules = sum(part.joules for part in parts)
    between = None if energy.whole_steps else 1 - sum(part.in_calls_s for part in parts) / span_s
    reason = _unsound(energy, span_s, joules, between)
    if reason:
        return CallEnergy(calls=calls, span_s=span_s, reason=reason)
    error = _error(energy, span_s)
    return CallEnergy(
        joules_per_call=joules / calls,
        interval=_interval(parts, (error or 0.0) * joules / calls),
        counter_error=error,
        mean_w=joules / span_s,
        calls=calls,
        span_s=span_s,
        between_calls=between,
    )


def joules_by_part(energy: ProgramEnergy) -> list[float]:
    """Joules per call between neighbouring readings, in the order read."""
    return [part.joules / part.calls for part in _parts(energy)]


@dataclass(frozen=True, slots=True)
class _Part:
    """What lies between two neighbouring readings of a stretch."""

    span_s: float
    joules: float
    calls: int
    in_calls_s: float


def _parts(energy: ProgramEnergy) -> Iterator[_Part]:
    for stretch in energy.stretches:
        for first, second in itertools.pairwise(stretch):
            yield _part(first, second)


def _part(first: EnergyReading, second: EnergyReading) -> _Part:
    return _Part(
        span_s=(second.time_ns - first.time_ns) / NS_PER_S,
        joules=sum(second.joules) - sum(first.joules),
        calls=second.calls - first.calls,
        in_calls_s=(second.in_calls_ns - first.in_calls_ns) / NS_PER_S,
    )


def _interval(parts: Sequence[_Part], error_j: float) -> Interval | None:
    """95 % by Student's t over what lies between readings, and what the counter may be off, too.

    Neighbours are taken together until few are left: their errors at the reading between them cancel.
    """
    per = ceil(len(parts) / _MOST_PARTS)
    few = [parts[at : at + per] for at in range(0, len(parts), per)]
    found = ratio_interval(
        [sum(part.joules for part in group) for group in few],
        [sum(part.calls for part in group) for group in few],
    )
    if found is None:
        return None
    return Interval(
        low=found.low - error_j,
        high=found.high + error_j,
        method=f"{found.method}, and two steps of the counter",
    )


def _unsteady(energy: ProgramEnergy, calls: int) -> str:
    """Why these calls are not many of one kind; "" where they are."""
    if calls < LEAST_CALLS:
        unlike = f"; {counted(energy.unlike, 'call')} had other shapes" if energy.unlike else ""
        return (
            f"{counted(calls, 'call')} of the traced one's shapes came one after the other between two "
            f"readings, and {LEAST_CALLS} are needed{unlike}"
        )
    if energy.near < LEAST_NEAR * energy.calls:
        return (
            f"the calls do not repeat steadily: {energy.near} of {energy.calls} lie within {NEAR:.0%} "
            "of the mean of those before"
        )
    return ""


def _unsound(
    energy: ProgramEnergy, span_s: float, joules: float, between: float | None
) -> str | None:
    """Why what lies between the readings is not the calls' energy; None where it is."""
    if between is not None and between > 1 - LEAST_IN_CALLS:
        return (
            f"{between:.0%} of the time between the readings lies between calls: the joules are not the "
            "calls' alone"
        )
    error = _error(energy, span_s)
    if error is None:
        return "how often the counter moves could not be seen, so its error is not known"
    if error > MOST_ERROR:
        return (
            f"too short: {span_s:.3g} s of calls, and the counter moves every "
            f"{energy.counter_step_s:.3g} s, which may account for {error:.0%}"
        )
    if joules <= 0:
        return "the counter did not move forward"
    return None


def _error(energy: ProgramEnergy, span_s: float) -> float | None:
    """Two steps of the counter for each stretch, as a share of the time read."""
    if energy.counter_step_s is None:
        return None
    read = sum(len(stretch) > 1 for stretch in energy.stretches)
    return _STEPS_LATE * energy.counter_step_s * read / span_s
