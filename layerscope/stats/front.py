"""Rows of a sweep in; which cells are known to be better than which, and the Pareto front, out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from layerscope.records.interval import Interval
from layerscope.records.sweep import SweepRow
from layerscope.stats.sweep_tables import value

# Repeats of one run differ by at least this much, so a smaller difference says nothing.
NOISE_FLOOR = 0.03
# Numbers that are counted, not measured.
_COUNTS = frozenset({"flops", "flops_per_sample"})


@dataclass(frozen=True, kw_only=True)
class Front:
    """Cells that no other cell of the same data is known to beat.

    Attributes:
        objectives: columns that are minimised.
        cells: their ids, in plan order.
        left_out: cell id -> the objective it has no value of.
        reason: why there is no front; empty when there is one.
        datasets: the data sets that have a front of their own.
    """

    objectives: tuple[str, ...]
    cells: tuple[str, ...]
    left_out: dict[str, str]
    reason: str = ""
    datasets: tuple[str, ...] = ()


def pareto(
    rows: Sequence[SweepRow], objectives: Sequence[str] = ("wer", "latency_per_sample", "energy")
) -> Front:
    """The Pareto front of measured cells under columns that are all minimised, of each data set alone.

    A cell is beaten by one that is no worse in any column and known to be better in one: their
    intervals are apart there. What cannot be told apart stays.

    An objective that no cell has a value of is dropped, and the reason says so; a front needs two.
    """
    measured = [row for row in rows if row.measured]
    present = [name for name in objectives if any(value(r, name) is not None for r in measured)]
    missing = [name for name in objectives if name not in present]
    if len(present) < 2:
        reason = f"no cell has {' or '.join(missing)}" if missing else "fewer than two objectives"
        return Front(objectives=tuple(present), cells=(), left_out={}, reason=reason)
    left_out: dict[str, str] = {}
    whole: list[SweepRow] = []
    for row in measured:
        values = [value(row, name) for name in present]
        if None in values:
            left_out[row.cell] = present[values.index(None)]
        else:
            whole.append(row)
    front = tuple(
        row.cell
        for row in whole
        if not any(_beats(other, row, present) for other in whole if same_data(other, row))
    )
    reason = f"without {', '.join(missing)}, which no cell has" if missing else ""
    return Front(
        objectives=tuple(present),
        cells=front,
        left_out=left_out,
        reason=reason,
        datasets=tuple(dict.fromkeys(row.config.dataset for row in whole)),
    )


def same_data(one: SweepRow, other: SweepRow) -> bool:
    """Whether two cells answered the same data: numbers of others stand for other work."""
    asked = [
        (row.config.dataset, row.config.answer_form, row.config.normalisation)
        for row in (one, other)
    ]
    return asked[0] == asked[1]


def known_less(one: SweepRow, other: SweepRow, name: str) -> bool:
    """Whether a number of one cell is less than another's beyond what their intervals leave open.

    Without both intervals they must differ by more than repeats of one run do.
    """
    values = value(one, name), value(other, name)
    if values[0] is None or values[1] is None or values[0] >= values[1]:
        return False
    intervals = [_interval(row, name) for row in (one, other)]
    if intervals[0] is None or intervals[1] is None:
        return name in _COUNTS or values[0] < values[1] * (1 - NOISE_FLOOR)
    return not intervals[0].overlaps(intervals[1])


def _beats(one: SweepRow, other: SweepRow, objectives: Sequence[str]) -> bool:
    """At least as good everywhere and known to be better somewhere; all minimised."""
    pairs = [(value(one, name), value(other, name)) for name in objectives]
    if any(a is None or b is None or a > b for a, b in pairs):
        return False
    return any(known_less(one, other, name) for name in objectives)


def _interval(row: SweepRow, name: str) -> Interval | None:
    """The interval of a number of a row; None where it has none or is a count."""
    held = {
        "wer": row.wer,
        "latency": row.latency_s,
        "latency_per_sample": row.latency_s,
        "first_token": row.first_token_s,
        "energy": row.energy_j,
    }
    found = held[name].interval if name in held else None
    if found is None or name != "latency_per_sample":
        return found
    count = row.config.batch_size
    return replace(found, low=found.low / count, high=found.high / count)
