"""`EnergyRecord`: the raw readings of an energy pass; every joule quoted is derived from them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class EnergyAbsent:
    """Energy could not be measured. The reason says what is missing and what would help."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CounterEdge:
    """A moment at which a counter was seen to have moved.

    Attributes:
        time_ns: monotonic time when the read that saw the move returned.
        late_ns: time since the last read that had not seen it began; the move is that much
            earlier at most.
        joules: the counter's new value.
    """

    time_ns: int
    late_ns: int
    joules: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CounterWindow:
    """One counter over one window; `start` and `end` are its own edges.

    Attributes:
        landed: first edge after the work; None in a window without work.
        after: the edge after `end`; from `end` to `after` the device is at rest.
    """

    counter: str
    start: CounterEdge
    landed: CounterEdge | None
    end: CounterEdge
    after: CounterEdge | None


@dataclass(frozen=True, kw_only=True, slots=True)
class EnergyBatch:
    """One whole batch that ran inside a window, device synchronised at both ends."""

    batch: int
    start_ns: int
    end_ns: int
    samples: int
    new_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EnergyWindow:
    """One window: every counter's edges and the batches between them. No batches: idle."""

    counters: tuple[CounterWindow, ...]
    batches: tuple[EnergyBatch, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceState:
    """What a device said about itself right after a window's last batch. None: it does not say."""

    device: str
    time_ns: int
    temperature_c: int | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    power_limit_w: float | None = None
    throttle_reasons: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerSample:
    """One device's power at one moment, polled from a process of its own.

    `time_ns` is the monotonic clock, which on Linux all processes share.
    """

    time_ns: int
    device: str
    power_w: float
    sm_clock_mhz: int | None = None
    temperature_c: int | None = None


@dataclass(frozen=True, kw_only=True)
class EnergyRecord:
    """The raw readings of one energy pass, or the reason why there are none to trust.

    Attributes:
        sources: one sentence per counter, in the order of each window's `counters`.
        idle: the window without work, measured first.
    """

    sources: tuple[str, ...] = ()
    driver: str | None = None
    idle: EnergyWindow | None = None
    windows: tuple[EnergyWindow, ...] = ()
    states: tuple[DeviceState, ...] = ()
    reason: str | None = None
