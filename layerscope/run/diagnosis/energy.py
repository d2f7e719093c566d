"""Energy counters and the power reading in; findings on whether they answer, and how often, out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from layerscope.measure.clock import Clock
from layerscope.measure.energy.meter import Meter, MeterLost
from layerscope.measure.energy.nvml import LIBRARY
from layerscope.measure.energy.power_line import PowerLine
from layerscope.measure.energy.rapl import POWERCAP, find_domains
from layerscope.records.energy_record import EnergyAbsent
from layerscope.run.diagnosis.gpu import NO_DEVICE, devices, nvml
from layerscope.run.diagnosis.probe import Finding

WATCH_S = 1.0
_POLL_S = 0.001
_POWER_S = 0.5
_ENOUGH_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Movement:
    """How one counter moved while it was watched.

    Attributes:
        name: of the meter.
        edges_ns: monotonic times at which a read first showed a new value.
        went_back: it showed less than before.
        lost: why it stopped answering; empty when it answered throughout.
    """

    name: str
    edges_ns: tuple[int, ...]
    went_back: bool = False
    lost: str = ""

    @property
    def interval_ms(self) -> float | None:
        """Median time between two moves; None below two moves."""
        gaps = [(later - earlier) / 1e6 for earlier, later in pairwise(self.edges_ns)]
        return median(gaps) if gaps else None


def watch(meters: Sequence[Meter], clock: Clock, span_s: float = WATCH_S) -> tuple[Movement, ...]:
    """Read every counter each millisecond for `span_s` and note when it moves."""
    followed = [_Follower(meter) for meter in meters]
    end_ns = clock.monotonic_ns() + round(span_s * 1e9)
    while clock.monotonic_ns() < end_ns:
        clock.sleep(_POLL_S)
        for follower in followed:
            follower.look(clock)
    return tuple(follower.movement() for follower in followed)


class _Follower:
    """One counter, its last value and its moves."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._edges_ns: list[int] = []
        self._went_back = False
        self._lost = ""
        self._last_j: float | None = None

    def look(self, clock: Clock) -> None:
        if self._lost:
            return
        try:
            joules = self._meter.read_j()
        except MeterLost as lost:
            self._lost = str(lost)
            return
        if self._last_j is not None and joules > self._last_j:
            self._edges_ns.append(clock.monotonic_ns())
        self._went_back |= self._last_j is not None and joules < self._last_j
        self._last_j = joules

    def movement(self) -> Movement:
        return Movement(self._meter.name, tuple(self._edges_ns), self._went_back, self._lost)


def nvml_counter(uuids: Sequence[str], clock: Clock, library_name: str = LIBRARY) -> Finding:
    """NVML's total-energy counter of every CUDA device: there, allowed, moving, how often."""
    if not uuids:
        return NO_DEVICE
    with nvml(library_name) as library:
        return judge_movement(watch(devices(library, uuids), clock))


def judge_movement(movements: Sequence[Movement]) -> Finding:
    """What the counters' movement means for an energy pass."""
    lost = [movement.lost for movement in movements if movement.lost]
    if lost:
        return Finding(
            status="missing",
            found="; ".join(lost),
            remedy="do what the message says; a container needs the `utility` driver capability",
        )
    found = "; ".join(_in_words(movement) for movement in movements)
    if any(movement.went_back for movement in movements):
        return Finding(
            status="limited",
            found=found,
            remedy="stop what resets the counter (a driver reload, another measuring program)",
        )
    if any(not movement.edges_ns for movement in movements):
        return Finding(
            status="limited",
            found=found,
            remedy="this device or driver does not count energy; update the driver",
        )
    if any(movement.interval_ms is None for movement in movements):
        return Finding(
            status="limited",
            found=found,
            remedy="it moves too seldom for windows of 2 s; use longer ones, or update the driver",
        )
    return Finding(status="ok", found=found)


def _in_words(movement: Movement) -> str:
    if movement.went_back:
        return f"{movement.name}: the counter went back"
    moves, interval = len(movement.edges_ns), movement.interval_ms
    if interval is None:
        return f"{movement.name}: the counter moved {moves} times in {WATCH_S:g} s"
    return (
        f"{movement.name}: the counter moved {moves} times in {WATCH_S:g} s, "
        f"every {interval:.1f} ms (median)"
    )


def power(uuids: Sequence[str], clock: Clock, library_name: str = LIBRARY) -> Finding:
    """Poll power for half a second, from the very process that a run uses."""
    if not uuids:
        return NO_DEVICE
    line = PowerLine(uuids, library=library_name)
    with line:
        if line.absent is None:
            clock.sleep(_POWER_S)
    if line.absent is not None:
        return Finding(
            status="missing",
            found=line.absent.reason,
            remedy="see the check `nvml_energy`; a run's joules do not need polled power",
        )
    by_device: dict[str, list[float]] = {}
    for sample in line.samples:
        by_device.setdefault(sample.device, []).append(sample.power_w)
    found = "; ".join(
        f"{name}: {len(watts)} readings in {_POWER_S:g} s, {min(watts):.0f} to {max(watts):.0f} W"
        for name, watts in by_device.items()
    )
    if not by_device or min(map(len, by_device.values())) < _ENOUGH_SAMPLES:
        return Finding(
            status="limited",
            found=found or "no readings",
            remedy="the polling process gets too little CPU time; free a core",
        )
    return Finding(status="ok", found=found)


# No machine that layerscope was tried on lets its user read the counters.
_NEVER_SEEN = "CPU joules are tested on a file tree and were never seen on hardware"


def rapl(root: Path = POWERCAP) -> Finding:
    """RAPL's package and DRAM counters."""
    domains = find_domains(root)
    if isinstance(domains, EnergyAbsent):
        return Finding(
            status="missing",
            found=domains.reason,
            remedy="as the message says; in a container mount /sys/class/powercap",
        )
    readings = ", ".join(f"{domain.name} {domain.read_j():,.1f} J" for domain in domains)
    return Finding(status="ok", found=f"readable: {readings}; {_NEVER_SEEN}")
