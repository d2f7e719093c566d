"""Calls of somebody's program as they begin and end in, counters read at their borders out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from layerscope.core.units import NS_PER_S
from layerscope.measure.clock import Clock
from layerscope.measure.energy.meter import Meter, MeterLost
from layerscope.records.program_energy import LEAST_CALLS, NEAR, EnergyReading, ProgramEnergy

# Between two readings, each of which takes the program less than a millisecond.
_READ_EVERY_NS = NS_PER_S
_ENOUGH_NS = 10 * NS_PER_S
# Looked for so long, and for so many calls of the model: a service may never repeat one.
_LOOK_NS = 60 * NS_PER_S
_LOOK_CALLS = 8
# A rest between calls that ends a stretch; a shorter one is part of the time read.
_REST_NS = NS_PER_S // 5


@dataclass(frozen=True, kw_only=True)
class Read:
    """What is read.

    Attributes:
        meters: counters of every device that holds the model.
        others: who else uses what they count, in words; "" for nobody, None where it is not known.
    """

    meters: Sequence[Meter]
    others: Callable[[], str | None]


class SteadyCalls:
    """Energy windows laid over calls of one shape while they follow one another.

    It never waits and never looks at the device. Not safe among threads: its owner holds a lock.

    Args:
        shape: of the traced call; others end a stretch.
        whole_steps: a call lasts until the next one begins; see `ProgramEnergy`.
    """

    def __init__(self, read: Read, clock: Clock, shape: object, *, whole_steps: bool) -> None:
        self._read, self._clock, self._shape = read, clock, shape
        self._whole_steps = whole_steps
        self._since_ns = clock.monotonic_ns()
        self._stretches: list[list[EnergyReading]] = []
        self._is_open = False
        self._began_ns: int | None = None
        self._ended_ns = 0
        self._calls = self._in_calls_ns = 0  # of the stretch
        self._all_calls = self._near = self._unlike = self._seen = 0
        self._all_ns = 0
        self._others: str | None = None
        self._reason: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether there is enough, or there will not be: nothing is to be read any more."""
        if self._reason is not None:
            return True
        spans = (stretch[-1].time_ns - stretch[0].time_ns for stretch in self._stretches)
        read = sum(stretch[-1].calls for stretch in self._stretches)
        if sum(spans) >= _ENOUGH_NS and read >= LEAST_CALLS:
            return True
        looked_ns = self._clock.monotonic_ns() - self._since_ns
        return looked_ns > _LOOK_NS and self._seen >= _LOOK_CALLS

    def begins(self, shape: object) -> None:
        """A call of the model begins."""
        now = self._clock.monotonic_ns()
        self._seen += 1
        if shape != self._shape:
            self._unlike += 1
            self.disturbed()
            return
        if self._whole_steps:
            self._step_to(now)
        elif self._is_open and now - self._ended_ns > max(_REST_NS, self._mean_ns() * NEAR):
            self._is_open = False
        if not self._is_open:
            self._calls = self._in_calls_ns = 0
            self._is_open = True
            self._take(now, opens=True)
        self._began_ns = now

    def ends(self) -> bool:
        """The call that began last has ended; whether a reading was taken."""
        if self._began_ns is None or self._whole_steps:
            return False
        now, began = self._clock.monotonic_ns(), self._began_ns
        self._began_ns, self._ended_ns = None, now
        return self._lasted(now - began, now)

    def disturbed(self) -> None:
        """Something else ran: what was read until here stands, and a new stretch is to begin."""
        self._is_open, self._began_ns = False, None

    def record(self) -> ProgramEnergy:
        """What was read so far."""
        return ProgramEnergy(
            sources=tuple(meter.source for meter in self._read.meters),
            whole_steps=self._whole_steps,
            stretches=tuple(tuple(stretch) for stretch in self._stretches),
            calls=self._all_calls,
            near=self._near,
            unlike=self._unlike,
            others=self._others,
            reason=self._reason,
        )

    def _step_to(self, now: int) -> None:
        """A step ends where the next one begins, unless the program did something else in between."""
        if not self._is_open or self._began_ns is None:
            return
        took = now - self._began_ns
        if self._all_calls and took > 2 * self._mean_ns() + _REST_NS:
            self._is_open = False
            return
        self._lasted(took, now)

    def _lasted(self, took_ns: int, now: int) -> bool:
        mean = self._mean_ns()
        self._near += not self._all_calls or abs(took_ns - mean) <= NEAR * mean
        self._all_calls += 1
        self._all_ns += took_ns
        self._calls += 1
        self._in_calls_ns += took_ns
        due = self._is_open and now - self._stretches[-1][-1].time_ns >= _READ_EVERY_NS
        if due:
            self._take(now)
        return due

    def _mean_ns(self) -> float:
        return self._all_ns / self._all_calls if self._all_calls else 0.0

    def _take(self, now: int, *, opens: bool = False) -> None:
        try:
            joules = tuple(meter.read_j() for meter in self._read.meters)
        except MeterLost as lost:
            self._reason, self._is_open = str(lost), False
            return
        reading = EnergyReading(
            time_ns=now, joules=joules, calls=self._calls, in_calls_ns=self._in_calls_ns
        )
        if opens:
            # One whose calls no second reading came behind holds nothing.
            self._stretches = [stretch for stretch in self._stretches if len(stretch) > 1]
            self._stretches.append([reading])
            return
        before = self._stretches[-1][-1].joules
        if any(new < old for new, old in zip(joules, before, strict=True)):
            self._reason = "a counter moved back: another process or the driver reset it"
            return
        self._stretches[-1].append(reading)
        self._others = self._others or self._read.others()
