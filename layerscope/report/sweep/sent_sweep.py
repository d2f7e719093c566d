"""`SentSweep`: all that a report of a sweep is made from, the HTML page as well as the Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from layerscope.published.reference import Judgement
from layerscope.records import LayerRow, RunRecord
from layerscope.records.finding import Finding
from layerscope.records.sweep import SweepConfig, SweepRow
from layerscope.report.html.sent_run import Picture
from layerscope.stats.front import Front
from layerscope.stats.sweep_tables import Exponent, sizes_without_effect


@dataclass(frozen=True, kw_only=True)
class SentSweep:
    """One sweep as its folder holds it.

    Attributes:
        rows: one per cell of the plan, in its order.
        beside: judgements against the published table; empty where the sweep names none.
        inferred: how the published numbers were most likely measured; empty without `beside`.
        records: cell id -> its run's record; cells without a run are missing.
        findings: cell id -> what its run shows; cells without a findings file are missing.
        layers: cell id -> its layer table's rows; cells without a table are missing.
        unequal: tables that do not sum to what their run measured as a whole, in words.
        absent: what the report would show and does not -> why.
    """

    config: SweepConfig
    layerscope: str
    rows: tuple[SweepRow, ...]
    exponents: tuple[Exponent, ...]
    front: Front
    beside: tuple[Judgement, ...] = ()
    inferred: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, RunRecord] = field(default_factory=dict)
    findings: Mapping[str, Sequence[Finding]] = field(default_factory=dict)
    layers: Mapping[str, Sequence[LayerRow]] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = ()
    unequal: tuple[str, ...] = ()
    absent: tuple[tuple[str, str], ...] = ()

    @property
    def axes(self) -> tuple[str, ...]:
        """The fields that differ between cells by design."""
        return self.config.axes

    @property
    def first(self) -> RunRecord | None:
        """The record of the first cell that has one; None when no cell has run."""
        return next((self.records[r.cell] for r in self.rows if r.cell in self.records), None)

    @property
    def measured(self) -> tuple[SweepRow, ...]:
        """Cells that have numbers."""
        return tuple(row for row in self.rows if row.measured)

    @property
    def note(self) -> str:
        """What must be known before sizes are compared; empty where there is nothing to say."""
        return sizes_without_effect(self.rows)

    @property
    def seen(self) -> tuple[tuple[Finding, tuple[SweepRow, ...]], ...]:
        """Each thing that cells show, in the words of the first one's run, and all that show it.

        What most cells show comes first.
        """
        found: dict[str, tuple[Finding, list[SweepRow]]] = {}
        for row in self.rows:
            for finding in self.findings.get(row.cell, ()):
                found.setdefault(finding.id, (finding, []))[1].append(row)
        ordered = sorted(found.values(), key=lambda pair: -len(pair[1]))
        return tuple((finding, tuple(rows)) for finding, rows in ordered)

    @property
    def failures(self) -> tuple[str, ...]:
        """Cells whose account does not add up, when it was written or now, with the reason."""
        broken = [row for row in self.rows if row.status == "accounting failed"]
        then = (f"{row.folder or row.cell}: {row.reason}" for row in broken)
        return (*then, *self.unequal)
