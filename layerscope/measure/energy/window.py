"""Energy windows on counter edges: meters, a clock and a piece of work in, raw windows out.

A counter that moves every 100 ms, read at arbitrary moments, is wrong by up to one step at each
end. Two ways avoid that:

* keep the work running, note edges meanwhile and scale by the part of each batch between the first
  and the last. That charges a partial batch by its share of time, though prefill and decode draw
  different power, and a poller beside a launch-bound `generate()` slows what it measures.
* start whole batches at an edge, and after the last one wait at rest for edges. Nothing runs
  beside the work; the window holds whole batches plus a short rest, whose energy is subtracted.

The second is used. The sequence of each counter:

    start | batch batch ... batch | landed | end | after

One batch runs unmeasured, `start` is the second edge after it, waited for without sleeping; the work
begins at once. `landed` is the first edge after the last batch, `end`
the second and `after` the third. The window is start..end, so a counter that lags by up to one step
still has all of the work's energy in it. The rest in the window (its span minus the batches) costs
the power measured from `end` to `after`, in the same state of clocks and heat. Energy of the work =
counter difference - rest power x rest time; `summary.window_energy` derives it and its uncertainty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from layerscope.measure.clock import Clock
from layerscope.measure.energy.meter import Meter, MeterLost
from layerscope.records.energy_record import (
    CounterEdge,
    CounterWindow,
    EnergyAbsent,
    EnergyBatch,
    EnergyWindow,
)

MIN_WINDOW_S = 2.0
POLL_S = 0.001
EDGE_TIMEOUT_S = 5.0
_EDGES_AFTER_WORK = 3
# RAPL moves every millisecond: power between two neighbouring moves would be noise. NVML's 100 ms
# steps pass untouched.
_SPACING_NS = 50_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchDone:
    """What one call of the work did."""

    batch: int
    samples: int
    new_tokens: int


Work = Callable[[], BatchDone]


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowTiming:
    """How long a window lasts at least, how often counters are read, how long an edge may take."""

    min_s: float = MIN_WINDOW_S
    poll_s: float = POLL_S
    edge_timeout_s: float = EDGE_TIMEOUT_S


def work_window(
    meters: Sequence[Meter],
    work: Work,
    clock: Clock,
    timing: WindowTiming | None = None,
    after_work: Callable[[], None] | None = None,
) -> EnergyWindow | EnergyAbsent:
    """Repeat `work` back to back for at least `timing.min_s` and return the window around it.

    Args:
        work: runs one whole batch and returns with the device synchronised, so that its energy is
            spent when it returns.
        after_work: called once, right after the last batch (to note temperature and clocks).

    Returns:
        The window, or why the counters cannot be trusted. What `work` raises is passed on.
    """
    timing = timing or WindowTiming()
    try:
        # Unmeasured, and then no sleep before the window opens: after a rest the host launches more
        # slowly for a while, and the window would hold batches that no steady run has. The second
        # edge, because a counter that lags books this batch's last joules at the first.
        work()
        edges = _wait_for_edges(meters, clock, timing, count=2, awake=True)
        starts = [seen[-1] for seen in edges]
        batches = _repeat(work, clock, timing.min_s)
        if after_work is not None:
            after_work()
        ends = _wait_for_edges(meters, clock, timing, count=_EDGES_AFTER_WORK)
    except MeterLost as lost:
        return EnergyAbsent(reason=str(lost))
    counters = tuple(
        CounterWindow(counter=meter.name, start=start, landed=landed, end=end, after=after)
        for meter, start, (landed, end, after) in zip(meters, starts, ends, strict=True)
    )
    return _trusted(EnergyWindow(counters=counters, batches=batches))


def idle_window(
    meters: Sequence[Meter], clock: Clock, timing: WindowTiming | None = None
) -> EnergyWindow | EnergyAbsent:
    """A window in which nothing runs, at least `timing.min_s` long, from edge to edge."""
    timing = timing or WindowTiming()
    try:
        starts = [edges[0] for edges in _wait_for_edges(meters, clock, timing, count=1)]
        clock.sleep(timing.min_s)
        ends = [edges[0] for edges in _wait_for_edges(meters, clock, timing, count=1)]
    except MeterLost as lost:
        return EnergyAbsent(reason=str(lost))
    counters = tuple(
        CounterWindow(counter=meter.name, start=start, landed=None, end=end, after=None)
        for meter, start, end in zip(meters, starts, ends, strict=True)
    )
    return _trusted(EnergyWindow(counters=counters))


def _repeat(work: Work, clock: Clock, min_s: float) -> tuple[EnergyBatch, ...]:
    batches: list[EnergyBatch] = []
    begin = clock.monotonic_ns()
    while not batches or batches[-1].end_ns - begin < min_s * 1e9:
        start = clock.monotonic_ns()
        done = work()
        batches.append(
            EnergyBatch(
                batch=done.batch,
                start_ns=start,
                end_ns=clock.monotonic_ns(),
                samples=done.samples,
                new_tokens=done.new_tokens,
            )
        )
    return tuple(batches)


def _wait_for_edges(
    meters: Sequence[Meter], clock: Clock, timing: WindowTiming, *, count: int, awake: bool = False
) -> list[list[CounterEdge]]:
    """The next `count` edges of every counter, at least 50 ms apart, in the order of `meters`.

    Raises:
        MeterLost: a counter vanished, moved back, or did not move for `edge_timeout_s`.
    """
    watches = [_Watch(meter, clock) for meter in meters]
    while any(len(watch.edges) < count for watch in watches):
        (clock.stay_awake if awake else clock.sleep)(timing.poll_s)
        for watch in watches:
            if len(watch.edges) < count:
                watch.look(timing.edge_timeout_s)
    return [watch.edges for watch in watches]


class _Watch:
    """Reads one counter until it moves, and again."""

    def __init__(self, meter: Meter, clock: Clock) -> None:
        self.edges: list[CounterEdge] = []
        self._meter = meter
        self._clock = clock
        self._unmoved_ns = clock.monotonic_ns()
        self._last_j = meter.read_j()
        self._waiting_since_ns = self._unmoved_ns

    def look(self, timeout_s: float) -> None:
        before_ns = self._clock.monotonic_ns()
        joules = self._meter.read_j()
        now_ns = self._clock.monotonic_ns()
        if joules < self._last_j:
            raise MeterLost(
                f"{self._meter.source}: moved back from {self._last_j:.3f} J to {joules:.3f} J; "
                "another process or the driver reset it. Run again with the device to yourself."
            )
        if joules > self._last_j:
            if not self.edges or now_ns - self.edges[-1].time_ns >= _SPACING_NS:
                late_ns = now_ns - self._unmoved_ns
                self.edges.append(CounterEdge(time_ns=now_ns, late_ns=late_ns, joules=joules))
            self._last_j, self._waiting_since_ns = joules, now_ns
        elif now_ns - self._waiting_since_ns > timeout_s * 1e9:
            raise MeterLost(
                f"{self._meter.source}: did not move in {timeout_s:g} s; this device or driver "
                "does not count energy."
            )
        self._unmoved_ns = before_ns


def _trusted(window: EnergyWindow) -> EnergyWindow | EnergyAbsent:
    """The window, unless a counter went back between its two ends."""
    for counter in window.counters:
        if counter.end.joules <= counter.start.joules:
            return EnergyAbsent(
                reason=f"{counter.counter}: the counter went from {counter.start.joules:.3f} J to "
                f"{counter.end.joules:.3f} J over the window, so it was reset or wrapped unseen; "
                "run again."
            )
    return window
