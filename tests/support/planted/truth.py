"""The delays that were executed and the trace's own events in; each delay with its event, out.

Which event is which delay follows from order alone: the n-th event of a thread is the n-th execution
there, on a device the n-th kernel launched from there. A trace of a device may number its threads by
itself: then a thread is known by how many delays it has and by their lengths, roughly. Nothing of
layerscope is asked.
"""

from __future__ import annotations

import gzip
import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.planted.operators import KERNEL, OPERATORS, Clock, Execution
from support.planted.planting import Plant

# Between the lengths of one place in two threads there are factors; a device's clock varies less.
_ROUGHLY = 0.25


@dataclass(frozen=True)
class Delay:
    """A delay that was executed.

    Attributes:
        layer: FQN of the module that executed it; "" is the model itself.
        planted_us: its true length, from a clock that knows nothing of the trace.
        event_ns: the duration of its event in the trace: the operator's, on a device the kernel's;
            None where the trace has no event of its thread.
    """

    layer: str
    plant: int
    planted_us: float
    event_ns: int | None


class TruthLost(AssertionError):
    """The trace does not hold one event for each execution, so that no truth can be told from it."""


def lengths_us(source: random.Random, count: int, low: int, high: int) -> list[int]:
    """So many different primes from `low` to `high`, equally far apart in ratio, in random order."""
    step = math.log(high / low) / max(count - 1, 1)
    found: list[int] = []
    for index in range(count):
        value = round(low * math.exp(step * index))
        while value in found or not _is_prime(value):
            value += 1
        found.append(value)
    source.shuffle(found)
    return found


def _is_prime(value: int) -> bool:
    return value > 1 and all(value % d for d in range(2, math.isqrt(value) + 1))


def delays_of(
    trace: Path,
    executions: Sequence[Execution],
    plants: Iterable[Plant],
    *,
    clock: Clock | None = None,
) -> tuple[Delay, ...]:
    """Every delay of a window.

    Args:
        executions: in the window; of a CUDA graph, those of the call that captured it.
        clock: of the device; None on the CPU.

    Raises:
        TruthLost: a thread has other numbers of executions and events, unless it has no event.
    """
    by_thread: dict[int, list[Execution]] = defaultdict(list)
    for execution in executions:
        by_thread[execution.thread].append(execution)
    raw = json.loads(_text(trace))["traceEvents"]
    events = operator_events(raw) if clock is None else kernel_events(raw)
    planted = {t: [_us(execution, clock) for execution in mine] for t, mine in by_thread.items()}
    events = by_executing_thread(planted, events) if clock is not None else events
    expected = {thread: len(mine) for thread, mine in by_thread.items()}
    seen = {thread: len(mine) for thread, mine in events.items()}
    if not seen.items() <= expected.items():
        raise TruthLost(f"executed by thread {expected}, events in the trace {seen}")
    layers = {plant.number: plant.layers for plant in plants}
    found = []
    for thread, mine in by_thread.items():
        turn: Counter[int] = Counter()
        durations: Sequence[int | None] = events.get(thread) or [None] * len(mine)
        for execution, event_ns in zip(mine, durations, strict=True):
            of_plant = layers[execution.plant]
            layer = of_plant[turn[execution.plant] % len(of_plant)]
            turn[execution.plant] += 1
            found.append(Delay(layer, execution.plant, _us(execution, clock), event_ns))
    return tuple(found)


def by_executing_thread(
    planted_us: Mapping[int, Sequence[float]], events: Mapping[int, list[int]]
) -> dict[int, list[int]]:
    """The events under the ids of the threads that executed them.

    Args:
        planted_us: thread -> the lengths that it was given, in order.
        events: thread, as the trace numbers it -> durations in ns, in order.

    Raises:
        TruthLost: the ids differ, and a thread's lengths fit none or several of the trace's.
    """
    if events.keys() <= planted_us.keys():
        return dict(events)
    found = {}
    for thread, lengths in planted_us.items():
        fits = [other for other, durations in events.items() if _alike(lengths, durations)]
        if len(fits) != 1 or fits[0] in found.values():
            counts = (
                {t: len(mine) for t, mine in planted_us.items()},
                {t: len(mine) for t, mine in events.items()},
            )
            raise TruthLost(f"executed by thread {counts[0]}, events in the trace {counts[1]}")
        found[thread] = fits[0]
    if len(found) != len(events):
        raise TruthLost(f"events of {len(events)} threads, delays of {len(found)}")
    return {thread: events[other] for thread, other in found.items()}


def _alike(planted_us: Sequence[float], durations_ns: Sequence[int]) -> bool:
    return len(planted_us) == len(durations_ns) and all(
        abs(ns / 1000 / us - 1) <= _ROUGHLY for us, ns in zip(planted_us, durations_ns, strict=True)
    )


def _us(execution: Execution, clock: Clock | None) -> float:
    if clock is not None:
        return clock.us(execution.amount)
    assert execution.real_ns is not None
    return execution.real_ns / 1000


def _text(trace: Path) -> bytes:
    return gzip.decompress(trace.read_bytes()) if trace.suffix == ".gz" else trace.read_bytes()


def operator_events(raw: Sequence[dict[str, Any]]) -> dict[int, list[int]]:
    """Thread -> durations of the delaying operators in ns, by start."""
    mine = [e for e in raw if e.get("ph") == "X" and e.get("name") in OPERATORS]
    found: dict[int, list[int]] = defaultdict(list)
    for event in sorted(mine, key=lambda e: float(e["ts"])):
        found[int(event["tid"])].append(_ns(event))
    return dict(found)


def kernel_events(raw: Sequence[dict[str, Any]]) -> dict[int, list[int]]:
    """Launching thread -> durations of the spinning kernels in ns, by launch, then by start."""
    launches: dict[int, tuple[float, int]] = {}
    kernels = []
    for event in raw:
        if event.get("ph") != "X":
            continue
        correlation = event.get("args", {}).get("correlation")
        if event.get("cat") in ("cuda_runtime", "cuda_driver") and correlation is not None:
            at = float(event["ts"]), int(event["tid"])
            launches[correlation] = min(launches.get(correlation, at), at)
        elif event.get("cat") == "kernel" and KERNEL in event["name"]:
            kernels.append(event)
    found: dict[int, list[tuple[float, float, int]]] = defaultdict(list)
    for event in kernels:
        launch = launches.get(event["args"]["correlation"])
        if launch is None:
            raise TruthLost("a spinning kernel has no launch record")
        found[launch[1]].append((launch[0], float(event["ts"]), _ns(event)))
    return {thread: [ns for *_, ns in sorted(mine)] for thread, mine in found.items()}


def _ns(event: dict[str, Any]) -> int:
    return round(float(event["dur"]) * 1000)
