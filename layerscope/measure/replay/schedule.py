"""Units and meters in, their windows out: in random order, repeated until narrow or out of time.

In every round each unit has one window, in an order drawn anew from the seed, wholes among layers, so
that heat, which makes later windows draw more, falls on all alike. A window whose counter error is
too large for what it measured is followed by one twice as long. From the third round on only units
that are still too wide have one, those first whose error in the run's joules is largest.

A throttled window is repeated after a rest. A kind of layer that throttles after every rest draws
more than the device may by itself, as it does in the run: from then on its windows are kept at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from layerscope.core.words import first_line
from layerscope.measure.clock import Clock
from layerscope.measure.energy.meter import Meter
from layerscope.measure.energy.window import BatchDone, WindowTiming, work_window
from layerscope.measure.replay.player import Player, Refused
from layerscope.records.energy_record import DeviceState, EnergyAbsent
from layerscope.records.layer_energy import ReplayUnit, ReplayWindow
from layerscope.stats.energy_summary import window_energy
from layerscope.stats.replay_noise import pass_energies

TARGET = 0.02
MIN_WINDOW_S = 0.5
LONGEST_WINDOW_S = 4.0
ROUNDS = 8
FULL_ROUNDS = 2
THROTTLE_REPEATS = 2
_COOLING_S = 2.0
# A clock that a user or a display set is no fault of the window's.
_SLOWED = ("slowdown", "power cap", "power brake")
_MARGIN = 1.1


class Playable(Protocol):
    """A unit and how to make it ready; its inputs are let go when the player is."""

    @property
    def unit(self) -> ReplayUnit: ...

    def player(self) -> tuple[Player, str]:
        """The player, and where its inputs come from, in words.

        Raises:
            Refused: the unit cannot be replayed.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What windows are measured with.

    Attributes:
        synchronize: returns when the device has done all work.
        states: what the devices say of themselves now; None where none says anything.
        idle_w: power of the device at rest.
    """

    meters: Sequence[Meter]
    clock: Clock
    synchronize: Callable[[], None]
    idle_w: float
    states: Callable[[], Sequence[DeviceState]] | None = None
    timing: WindowTiming = field(default_factory=lambda: WindowTiming(min_s=MIN_WINDOW_S))


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """The units with their windows, and how the time went.

    Attributes:
        lost: why the counters cannot be trusted any more; None when they can.
    """

    units: tuple[ReplayUnit, ...]
    spent_s: float
    stopped: str
    lost: str | None = None


def replay_units(
    playables: Sequence[Playable],
    bench: Bench,
    *,
    limit_s: float,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Measure windows until every unit's standard error is under `TARGET` or the time is used up.

    Args:
        limit_s: no window begins that would not end within it, going by the last ones.
        advance: told of every window.
    """
    order = Random(seed)  # noqa: S311 - of windows, no secret
    run = _Run(playables, bench, limit_s, order, advance)
    lost = None
    try:
        stopped = run.rounds()
    except _CounterLost as problem:
        stopped = lost = str(problem)
    return Replayed(units=run.units(stopped), spent_s=run.spent_s(), stopped=stopped, lost=lost)


class _OutOfTime(Exception):
    pass


class _CounterLost(Exception):
    pass


class _Run:
    def __init__(
        self,
        playables: Sequence[Playable],
        bench: Bench,
        limit_s: float,
        random: Random,
        advance: Callable[[int], None],
    ) -> None:
        self._playables = {item.unit.name: item for item in playables}
        self._units = {item.unit.name: item.unit for item in playables}
        self._bench = bench
        self._limit_s = limit_s
        self._random = random
        self._advance = advance
        self._began_ns = bench.clock.monotonic_ns()
        self._lengths = dict.fromkeys(self._units, bench.timing.min_s)
        self._turn = 0
        self._always_slowed: set[str] = set()  # kinds
        self._overhead_s = 0.5  # edges and preparation, beside the work; then as seen

    def spent_s(self) -> float:
        return (self._bench.clock.monotonic_ns() - self._began_ns) / 1e9

    def units(self, stopped: str) -> tuple[ReplayUnit, ...]:
        return tuple(
            unit
            if unit.windows or unit.reason
            else dataclasses.replace(unit, reason=f"no window was measured: {stopped}")
            for unit in self._units.values()
        )

    def rounds(self) -> str:
        """Go through the rounds; returns why no further one was run."""
        try:
            for number in range(ROUNDS):
                names = self._wanted(number)
                if not names:
                    return f"every standard error is under {TARGET:.0%}"
                for name in names:
                    self._measure(name)
        except _OutOfTime:
            return f"limit of {self._limit_s:g} s reached"
        return f"limit of {ROUNDS} rounds reached"

    def _wanted(self, number: int) -> list[str]:
        names = [name for name, unit in self._units.items() if unit.reason is None]
        if number < FULL_ROUNDS:
            names = self._within_reach(names)
            self._random.shuffle(names)
            return names
        energies = pass_energies(list(self._units.values()), self._bench.idle_w)
        wide = [
            name
            for name in names
            if name in energies and (energies[name].relative_error or 0.0) > TARGET
        ]

        def in_the_run(name: str) -> float:
            unit = self._units[name]
            return (energies[name].error_j or 0.0) * unit.calls / len(unit.replayed)

        return sorted(wide, key=in_the_run, reverse=True)

    def _within_reach(self, names: list[str]) -> list[str]:
        """Those that the time left has room for: the ones without a window first, then by time."""

        def place(name: str) -> tuple[bool, int]:
            return bool(self._units[name].windows), -self._units[name].device_ns

        needs_s = 0.0
        reached: list[str] = []
        for name in sorted(names, key=place):
            needs_s += _MARGIN * (self._lengths[name] + self._overhead_s)
            if self.spent_s() + needs_s <= self._limit_s or not reached:
                reached.append(name)
        return reached

    def _measure(self, name: str) -> None:
        length_s = self._lengths[name]
        if self.spent_s() + _MARGIN * (length_s + self._overhead_s) > self._limit_s:
            raise _OutOfTime
        began_s = self.spent_s()
        unit = self._units[name]
        try:
            player, inputs = self._playables[name].player()
        except Refused as refused:
            # Windows measured before are no longer to be trusted: something changed since.
            self._units[name] = dataclasses.replace(unit, windows=(), reason=str(refused))
            return
        unit = dataclasses.replace(unit, how=player.how, why_plain=player.why_plain, inputs=inputs)
        try:
            found = self._unthrottled(player, length_s, unit.kind)
        except RuntimeError as error:  # torch's, of whatever the module ran into this time
            reason = f"fails on replay: {first_line(error)}"
            self._units[name] = dataclasses.replace(unit, windows=(), reason=reason)
            return
        if isinstance(found, EnergyAbsent):
            raise _CounterLost(found.reason)
        self._units[name] = dataclasses.replace(unit, windows=(*unit.windows, found))
        self._advance(1)
        self._turn += 1
        self._overhead_s = 0.7 * self._overhead_s + 0.3 * (self.spent_s() - began_s - length_s)
        energy = window_energy(found.window)
        above_j = energy.work_j - self._bench.idle_w * energy.busy_s
        if energy.uncertainty_j > TARGET * above_j:
            self._lengths[name] = min(2 * length_s, LONGEST_WINDOW_S)

    def _unthrottled(
        self, player: Player, length_s: float, kind: str
    ) -> ReplayWindow | EnergyAbsent:
        """A window; measured again, after a rest, as long as a device throttled and it may be."""
        for repeats in range(THROTTLE_REPEATS + 1):
            found = self._window(player, length_s, repeats)
            if isinstance(found, EnergyAbsent) or not found.throttled:
                return found
            if kind in self._always_slowed:  # no rest helps
                return found
            if self.spent_s() + _COOLING_S + length_s + self._overhead_s > self._limit_s:
                return found
            if repeats < THROTTLE_REPEATS:
                self._bench.clock.sleep(_COOLING_S)
        self._always_slowed.add(kind)
        return found

    def _window(self, player: Player, length_s: float, repeats: int) -> ReplayWindow | EnergyAbsent:
        bench = self._bench
        seen: list[DeviceState] = []
        runs = 0

        def work() -> BatchDone:
            nonlocal runs
            player.run(player.passes)
            runs += 1
            # The first run is unmeasured. The states are read in the second, while the device works.
            if runs == 2 and bench.states is not None:
                seen.extend(bench.states())
            bench.synchronize()
            return BatchDone(batch=0, samples=player.passes, new_tokens=0)

        timing = dataclasses.replace(bench.timing, min_s=length_s)
        window = work_window(bench.meters, work, bench.clock, timing)
        if isinstance(window, EnergyAbsent):
            return window
        reasons = [
            reason
            for state in seen
            for reason in state.throttle_reasons or ()
            if any(word in reason for word in _SLOWED)
        ]
        return ReplayWindow(
            window=window,
            turn=self._turn,
            states=tuple(seen),
            throttled=tuple(dict.fromkeys(reasons)),
            repeats=repeats,
        )
