"""A model with its plants in; one window of `layerscope.capture` after another, judged, out."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import layerscope
from layerscope.instrument.provenance import ProvenanceWatch
from support.planted.operators import DELAYS, Clock, Execution, calibrate
from support.planted.planting import Call, Plant
from support.planted.truth import delays_of, lengths_us
from support.planted.verdict import Finding, judge

# Long against what surrounds a delay and is not part of its true length: some 50 µs of dispatch on
# the CPU, 1 µs on a GPU.
CPU_US = (8_000, 30_000)
GPU_US = (1_000, 8_000)
_ATTEMPTS = 6


@dataclass(frozen=True)
class Subject:
    """A model and a call of it, on one device."""

    name: str
    model: torch.nn.Module
    call: Call
    cuda: bool = False


@dataclass(frozen=True)
class Window:
    """The delays of one window.

    Attributes:
        anew: delays that were `off` and so measured anew.
    """

    findings: tuple[Finding, ...]
    anew: int = 0


@dataclass(frozen=True)
class Series:
    """Windows over one model with its plants, until they are taken out.

    Attributes:
        replayed: the executions that CUDA graphs replay; None where the host executes them.
        regions: rows that stand for compiled code whose layers are not known.
    """

    subject: Subject
    call: Call
    plants: Sequence[Plant]
    source: random.Random
    fast: torch.nn.Module | None = None
    watch: ProvenanceWatch | None = None
    replayed: Sequence[Execution] | None = None
    regions: Collection[str] = ()

    def next(self) -> Window:
        """A window, with each delay that is `off` measured anew in further ones.

        A shared machine may stop an operator just before or behind its busy loop, and a device may
        change its clock. No delay may be with another layer even then: a window with one is kept as it
        is.
        """
        findings, anew = self._once(), 0
        for _ in range(_ATTEMPTS - 1):
            off = [finding for finding in findings if finding.verdict == "off"]
            if not off or not _never_wrong(findings):
                break
            again = self._once()
            if not _never_wrong(again):
                return Window(again, anew)
            anew += len(off)
            findings = _mended(findings, again)
        return Window(findings, anew)

    def _once(self) -> tuple[Finding, ...]:
        subject = self.subject
        model = self.fast if self.fast is not None else subject.model
        clock = calibrate() if subject.cuda else None
        amounts = [] if self.replayed is not None else self._amounts(model, clock)
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder) / "trace.json"
            with (
                DELAYS.running(amounts) as executions,
                layerscope.capture(model, trace=trace, compiled=self.watch) as window,
            ):
                self.call(model)
            if clock is not None:
                clock = _between(clock, calibrate())
            window.table.check()
            if self.replayed is not None:
                if executions:
                    raise RuntimeError("the delays are executed by the host: nothing replays them")
                executions = list(self.replayed)
            delays = delays_of(trace, executions, self.plants, clock=clock)
            root = window.table.root
            regions = {region or root for region in self.regions}
            return judge(delays, window.account, cuda=subject.cuda, regions=regions)

    def _amounts(self, model: torch.nn.Module, clock: Clock | None) -> list[int]:
        with DELAYS.counting() as executions:
            self.call(model)
        return amounts_of(self.source, len(executions), clock)


def _never_wrong(findings: Sequence[Finding]) -> bool:
    return all(finding.verdict in ("right", "off", "unknown") for finding in findings)


def _mended(findings: Sequence[Finding], again: Sequence[Finding]) -> tuple[Finding, ...]:
    """Each finding that is `off` replaced by that of the same execution in another window."""
    other = dict(_numbered(again))
    return tuple(
        other[key] if finding.verdict == "off" else finding for key, finding in _numbered(findings)
    )


def _numbered(findings: Sequence[Finding]) -> Iterator[tuple[tuple[str, int, int], Finding]]:
    """Every finding with its layer, its plant and how many of that plant came before."""
    turn: Counter[tuple[str, int]] = Counter()
    for finding in findings:
        place = finding.layer, finding.plant
        yield (*place, turn[place]), finding
        turn[place] += 1


def amounts_of(source: random.Random, count: int, clock: Clock | None) -> list[int]:
    """So many lengths, in ns or in cycles."""
    low, high = CPU_US if clock is None else GPU_US
    lengths = lengths_us(source, count, low, high)
    return [us * 1000 if clock is None else clock.cycles(us) for us in lengths]


def _between(before: Clock, after: Clock) -> Clock:
    return Clock(
        (before.fixed_us + after.fixed_us) / 2, (before.us_per_cycle + after.us_per_cycle) / 2
    )
