"""Two runs in, what differs between them and whether it is more than noise out."""

from __future__ import annotations

from pathlib import Path

from layerscope.core.errors import DataError
from layerscope.differences import Subject, compare
from layerscope.records.comparison import Comparison
from layerscope.records.kinds import device_sums
from layerscope.runs.run import Run


class Diff:
    """What `layerscope compare` says of two runs; made with `layerscope.diff`.

    Attributes:
        comparison: metrics with verdicts, layers with their changes, cautions.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def __str__(self) -> str:
        from io import StringIO

        from rich.console import Console

        from layerscope.report.compare import render_comparison

        text = StringIO()
        render_comparison(self.comparison, (), Console(file=text, width=120), top=15)
        return text.getvalue()

    def _repr_html_(self) -> str:
        from layerscope.report.html.notebook import comparison_html

        return comparison_html(self.comparison)

    def __repr__(self) -> str:
        return f"diff({self.comparison.base!r}, {self.comparison.other!r})"


def diff(base: str | Path | Run, other: str | Path | Run) -> Diff:
    """Compare two runs: other minus base. Each is a path that `open_run` takes, or a `Run`.

    Raises:
        DataError: a side cannot be read, or the two have nothing in common.
    """
    return Diff(compare(_subject(base), _subject(other)))


def _subject(side: str | Path | Run) -> Subject:
    run = side if isinstance(side, Run) else Run.open(side)
    return subject_of(run, str(run.place.shown))


def subject_of(run: Run, name: str) -> Subject:
    """A run as a side of a comparison; of a run whose layers cannot be read, the headline alone.

    Raises:
        DataError: a bare trace that cannot be read.
    """
    record = run.written
    if record is None:
        return Subject(name=name, table=run.account.table)
    try:
        return Subject(
            name=name,
            record=record,
            table=run.account.table,
            traced_ns=device_sums(run.kinds),
            energy=run.energy_by_unit,
        )
    except DataError as problem:
        # The headline can be compared without layers; that they are missing is said.
        return Subject(name=name, record=record, table=None, table_absent=str(problem))
