"""`KindTimes`: own time of one kind of layer in each traced batch, and how its calls spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class KindTimes:
    """All layers of one kind in one phase. Nanoseconds.

    Attributes:
        kind: a layer's FQN with `*` for numbers that say nothing but a place; or a bucket.
        layers: how many of the first traced batch are of it.
        measure: "device": self time of device events; "operator": inside operators, without a device.
        batch_ns: its own time in each traced batch, in order.
        call_min_ns, call_median_ns, call_max_ns: of one call, over all traced batches; None where
            calls cannot be told apart, as in compiled code.
    """

    kind: str
    phase: str
    layers: int
    calls: int
    measure: Literal["device", "operator"]
    batch_ns: tuple[int, ...]
    call_min_ns: int | None = None
    call_median_ns: int | None = None
    call_max_ns: int | None = None


def device_sums(kinds: Sequence[KindTimes]) -> tuple[int, ...]:
    """Device time of each traced batch, nanoseconds: the sum over its kinds; empty without a device."""
    held = [kind.batch_ns for kind in kinds if kind.measure == "device"]
    return tuple(sum(column) for column in zip(*held, strict=True))
