"""`Finding`: one thing seen in a run, in words with its numbers, and what could be tried."""

from __future__ import annotations

from dataclasses import dataclass


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """What acting on a finding could save, of the traced batch. Nanoseconds.

    Attributes:
        saved_ns: None when it cannot be estimated; `basis` says why then, else how it was.
        whole_ns: what it is a part of.
        of: the whole in words: "device time", "latency", "profiled window".
        at_most: whether `saved_ns` is a bound that will not be reached in full.
        by_ceilings: whether it rests on measured ceilings, and so on two digits.
    """

    saved_ns: int | None
    whole_ns: int | None = None
    of: str = ""
    at_most: bool = True
    by_ceilings: bool = False
    basis: str

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
