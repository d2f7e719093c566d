"""A `SentSweep` in, the text of its page out: cells side by side, and the layers of each to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from layerscope.records.sweep import Estimate, SweepRow
from layerscope.report.findings import saving_text
from layerscope.report.html.method import environment_lines, method_lines
from layerscope.report.html.page_rows import NamedRows, tables_json
from layerscope.report.html.pictures import data_uri
from layerscope.report.html.render import render_page
from layerscope.report.html.sent_run import SentRun
from layerscope.report.sweep.beside import beside_grid
from layerscope.report.sweep.grids import (
    BRACKETS,
    estimate_text,
    exponent_grid,
    name_of,
    reasons,
    sweep_grid,
)
from layerscope.report.sweep.markdown import front_text
from layerscope.report.sweep.sent_sweep import SentSweep
from layerscope.report.sweep.shares import cells_by_group, cells_by_phase
from layerscope.report.what_ran import what_ran
from layerscope.stats.front import known_less, same_data
from layerscope.stats.sweep_tables import value

# Some mail servers refuse more than 3 MB; the script takes 30 kB of what is left free.
_MOST_BYTES = 2_900_000


def sweep_html(sent: SentSweep) -> str:
    """The whole page. The same sweep gives the same text."""
    words = _words(sent)
    bare = render_page("sweep_page.html", words | {"left_out": 0}, "")
    kept, left_out = _tables(sent, _MOST_BYTES - len(bare.encode()))
    rows = tables_json(kept) if kept else ""
    return render_page("sweep_page.html", words | {"left_out": left_out}, rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Best:
    """The least (or only) value of a number over all cells, or why there is none."""

    name: str
    value: str
    of: str
    reason: str


def _words(sent: SentSweep) -> dict[str, Any]:
    rows, axes, first = sent.rows, sent.axes, sent.first
    phases = cells_by_phase(rows, axes, sent.layers)
    return {
        "sent": sent,
        "several": True,
        "heading": f"sweep {sent.config.name}",
        "under": _under(sent),
        "best": list(_best(sent)),
        "ran": [item for item in what_ran(first) if item[0] in _SHARED] if first else [],
        "cells": sweep_grid(rows, axes, title=f"{len(rows)} cells"),
        "reasons": reasons(rows, axes),
        "findings": [(finding, _cells(rows_, sent)) for finding, rows_ in sent.seen],
        "saving_text": saving_text,
        "front": front_text(sent.front, rows, axes),
        "exponents": exponent_grid(sent.exponents) if sent.exponents else None,
        "phases": phases,
        "groups": cells_by_group(rows, axes, sent.layers),
        "beside": beside_grid(sent.beside, rows, axes) if sent.beside else None,
        "pictures": [(data_uri(item), _caption(item.role)) for item in sent.pictures],
        "method": list(_method(sent)),
        "environment": list(environment_lines(first)) if first else [],
        "config": list(_config(sent)),
        "absent": list(sent.absent),
    }


# Of what ran in the first cell, the lines that say what is alike in all of them.
_SHARED = frozenset({"chosen", "model", "dtypes", "device", "data"})


def _under(sent: SentSweep) -> str:
    devices = dict.fromkeys(row.device_name for row in sent.measured if row.device_name)
    models = dict.fromkeys(row.config.model for row in sent.rows)
    states: dict[str, int] = {}
    for row in sent.rows:
        states[row.status] = states.get(row.status, 0) + 1
    ended = ", ".join(f"{count} {status}" for status, count in states.items())
    return " · ".join([", ".join(models), ", ".join(devices) or "no device", ended])


def _best(sent: SentSweep) -> Iterator[_Best]:
    for name, number, field in (
        ("least latency per sample", "latency_per_sample", "latency_s"),
        ("least energy per sample", "energy", "energy_j"),
        ("lowest WER", "wer", "wer"),
        ("least time to first token", "first_token", "first_token_s"),
    ):
        having = [row for row in sent.measured if value(row, number) is not None]
        if not having:
            reason = next(filter(None, (_estimate(r, field).reason for r in sent.measured)), None)
            reason = reason or "no cell has run"
            yield _Best(name=name, value="", of="", reason=reason)
            continue
        for same in _by_data(having):
            yield _best_of(sent, name, number, same, several=len(_by_data(having)) > 1)


def _by_data(rows: list[SweepRow]) -> list[list[SweepRow]]:
    """Cells of one data set each: what is least in one says nothing of another."""
    found: list[list[SweepRow]] = []
    for row in rows:
        for group in found:
            if same_data(group[0], row):
                group.append(row)
                break
        else:
            found.append([row])
    return found


def _best_of(
    sent: SentSweep, name: str, number: str, rows: list[SweepRow], *, several: bool
) -> _Best:
    """The least of cells of one data set, with those that it cannot be told apart from."""
    row = min(rows, key=lambda row: value(row, number) or 0.0)
    unit = {"wer": "", "energy": " J"}.get(number, " s")
    shown = f"{value(row, number):.4g}{unit}"
    whole = ""
    if number == "latency_per_sample":
        whole = f"; {estimate_text(row.latency_s)} s per batch of {row.config.batch_size}"
    like = [other for other in rows if other is not row and not known_less(row, other, number)]
    if like:
        names = "; ".join(name_of(other, sent.axes) for other in like[:_ALIKE_NAMED])
        more = f" and {len(like) - _ALIKE_NAMED} more" if len(like) > _ALIKE_NAMED else ""
        whole += f"; cannot be told apart from {names}{more}"
    of_data = f", {row.config.dataset}" if several else ""
    return _Best(
        name=f"{name}{of_data}", value=shown, of=f"{name_of(row, sent.axes)}{whole}", reason=""
    )


# Cells as good as the best that are named; of more their number is said.
_ALIKE_NAMED = 3


def _cells(rows: Sequence[SweepRow], sent: SentSweep) -> str:
    """Which cells show a finding: the one whose words it has, and how many others do."""
    named = name_of(rows[0], sent.axes)
    if len(rows) == 1:
        return named
    others = [name_of(row, sent.axes) for row in rows[1:]]
    said = f": {'; '.join(others)}" if len(others) <= 4 else ""
    return f"{named}, and like it in {len(others)} more of {len(sent.measured)} cells{said}"


def _estimate(row: SweepRow, field: str) -> Estimate:
    found: Estimate = getattr(row, field)
    return found


def _tables(sent: SentSweep, most_bytes: int) -> tuple[list[NamedRows], int]:
    """The cells whose layers the page holds, in the plan's order, and how many it has no room for.

    Cells of the Pareto front go first. One cell is held however large it is.
    """
    having = [row for row in sent.rows if row.cell in sent.layers]
    first = sorted(having, key=lambda row: row.cell not in sent.front.cells)
    kept: set[str] = set()
    for row in first:
        named = _named(sent, [one for one in having if one.cell in {*kept, row.cell}])
        if kept and len(tables_json(named).encode()) > most_bytes:
            break
        kept.add(row.cell)
    return _named(sent, [row for row in having if row.cell in kept]), len(having) - len(kept)


def _named(sent: SentSweep, rows: list[SweepRow]) -> list[NamedRows]:
    return [NamedRows(name=name_of(row, sent.axes), rows=sent.layers[row.cell]) for row in rows]


def _caption(role: str) -> str:
    axis = role.removeprefix("phases_").removeprefix("against_")
    if role.startswith("phases_"):
        return f"The profiled batch's time by phase against {axis}, both scales logarithmic."
    return f"Each number against {axis}, with intervals: 95 %, for latency from 24 batches on."


def _method(sent: SentSweep) -> Iterator[tuple[str, str]]:
    yield (
        "intervals",
        f"{BRACKETS}; a dash is a number that was not measured",
    )
    if sent.exponents:
        yield (
            "exponents",
            "least squares of log time on log axis along cells that differ in one axis alone; the "
            "largest miss of a point is shown from three points on",
        )
    if sent.first is not None:
        run = SentRun(record=sent.first, account=None, work=None, findings=None)
        for label, text in method_lines(run):
            if label != "profiling":  # differs from cell to cell
                yield label, text
    yield (
        "account",
        "every cell's layers sum to its measured whole, in integer nanoseconds; a cell where they "
        "do not is marked",
    )
    for key, text in sent.inferred.items():
        yield f"published: {key}", text


def _config(sent: SentSweep) -> Iterator[tuple[str, str]]:
    config = sent.config
    for field, values in (*config.grid.items(), *config.zip.items()):
        together = " (together)" if field in config.zip else ""
        yield f"{field}{together}", ", ".join(map(str, values))
    for field, setting in config.base.items():
        if field not in {"out", "data_dir", "images"}:
            yield field, str(setting)
    for left in config.exclude:
        yield "left out", _pairs(left)
    for change in config.override:
        yield f"where {_pairs(change.when)}", _pairs(change.set)


def _pairs(fields: dict[str, Any]) -> str:
    return ", ".join(f"{name}={setting}" for name, setting in fields.items())
