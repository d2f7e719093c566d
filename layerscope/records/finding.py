"""`Finding`: one thing seen in a run, in words with its numbers, and what could be tried."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class RestsOn:
    """Where a finding's numbers stand: a (layer, phase) row, a phase, a group, or a file's field.

    Empty fields narrow nothing: only `phase` set means the whole phase. A layer may be a pattern
    in which `*` stands for the numbers of a stack of blocks.
    """

    layer: str = ""
    phase: str = ""
    group: str = ""
    source: str = ""  # e.g. "run.json: workload.batches", for what no row holds


def narrowest(places: Iterable[RestsOn]) -> list[RestsOn]:
    """The places that name layers; where none does, those that name a phase or a group."""
    held = list(places)
    return [p for p in held if p.layer] or [p for p in held if p.phase or p.group]


@dataclass(frozen=True, kw_only=True, slots=True)
class Worth:
    """What one saving is worth in three currencies; each has one base for all findings of a run.

    None is what the run does not tell; `reason` says why.

    Attributes:
        now_ns: off the traced batch's latency as it ran. Device time saved where the device waits for
            the host shortens nothing.
        latency_ns: base of `now_ns`: that batch unprofiled.
        later_ns: off the latency once the host no longer limits.
        device_ns: base of `later_ns`: the device's active time.
        joules: off the batch's joules, as it ran.
        whole_j: base of `joules`: the batch's joules end to end.
    """

    now_ns: int | None = None
    latency_ns: int | None = None
    later_ns: int | None = None
    device_ns: int | None = None
    joules: float | None = None
    whole_j: float | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """What acting on a finding could save, of the traced batch. Nanoseconds.

    Attributes:
        saved_ns: None when it cannot be estimated; `basis` says why then, else how it was.
        whole_ns: what it is a part of.
        of: the whole in words: "device time", "latency", "profiled window".
        at_most: whether nothing can exceed `saved_ns`: it is all there is.
        by_ceilings: whether it rests on measured ceilings, and so on two digits.
        by_phase: phase -> its part of `saved_ns`, of a saving of device time.
        worth: the same in three currencies.
    """

    saved_ns: int | None
    whole_ns: int | None = None
    of: str = ""
    at_most: bool = False
    by_ceilings: bool = False
    basis: str
    by_phase: dict[str, int] = field(default_factory=dict)
    worth: Worth | None = None

    @property
    def share(self) -> float | None:
        """Saved over whole."""
        if self.saved_ns is None or not self.whole_ns:
            return None
        return self.saved_ns / self.whole_ns


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that a run shows.

    Attributes:
        id: stable slug, the same for the same observation in every run.
        sentence: what is seen and where, with its numbers.
        rests_on: the rows the numbers come from.
        try_next: what to try; empty where nothing follows.
        concerns_ns: time of the rows it rests on, which ranks findings without an estimate.
    """

    id: str
    sentence: str
    rests_on: tuple[RestsOn, ...]
    try_next: str
    saving: Saving
    concerns_ns: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NotJudged:
    """A rule that could say nothing about a run, and what it would need."""

    rule: str
    reason: str


@dataclass(frozen=True)
class Findings:
    """What was seen, and the rules that lacked evidence."""

    seen: tuple[Finding, ...]
    not_judged: tuple[NotJudged, ...]
