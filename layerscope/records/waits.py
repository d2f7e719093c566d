"""`Waited`: how long the device stood idle before a layer's events, and how much of it for the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Waited:
    """How long the device stood idle before a row's events. Nanoseconds.

    Attributes:
        idle_ns: all of it.
        late_ns: the part in which it waited for a launch that the host began late.
    """

    idle_ns: int = 0
    late_ns: int = 0


NO_WAIT = Waited()
# (layer, phase) -> the measured gaps before its events.
Waits = Mapping[tuple[str, str], Waited]
