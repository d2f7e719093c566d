"""Ceilings in; their line in a run, the table of `layerscope ceilings` and their JSON out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from rich.console import Console

from layerscope.core.files import json_text
from layerscope.core.units import percent_two, two_digits
from layerscope.records.plausible_ceilings import rate_text
from layerscope.records.work import COPY, Ceilings
from layerscope.report.page import Grid, Page

EXPORT_VERSION = 1


def ceilings_text(ceilings: Ceilings) -> str:
    """Every rate with the maker's beside it, and when it was measured."""
    rates = ", ".join(
        f"{name} {rate_text(name, rate)}{_stated(ceilings, name)}"
        for name, rate in ceilings.rates().items()
    )
    day = ceilings.measured_utc[:10]
    return f"{f'cached, of {day}' if ceilings.kept else f'measured here, {day}'}: {rates}"


def ceilings_notes(ceilings: Ceilings) -> Iterator[str]:
    """What a reader must know of them, a line each: doubts, load, what was raised."""
    if ceilings.form == 0:
        yield "from before ceilings were the best of many measurements: some per cent too low"
    if ceilings.quiet is not True and ceilings.load:
        again = "; they are measured again next time" if ceilings.quiet is False else ""
        yield f"ceilings: {ceilings.load}{again}"
    for raised in ceilings.raised:
        yield (
            f"ceiling {raised.rate} raised from {rate_text(raised.rate, raised.before_per_s)} to "
            f"{rate_text(raised.rate, raised.after_per_s)}: by {raised.by}"
        )
    yield from (f"ceilings: {note}" for note in ceilings.notes)


def ceilings_grid(ceilings: Ceilings) -> Grid:
    """A row a rate; a rate that could not be measured has its reason."""
    rows = [
        (
            name,
            rate_text(name, rate),
            percent_two(ceilings.scatter[name]) if name in ceilings.scatter else "",
            f"{ceilings.measurements[name]:,}" if name in ceilings.measurements else "",
            rate_text(name, stated) if (stated := ceilings.stated(name)) else "",
            percent_two(rate / stated) if stated else "",
            ceilings.matmul_shape.get(name, "bytes read plus written" if name == COPY else ""),
        )
        for name, rate in ceilings.rates().items()
    ]
    rows += [
        (name, "absent", "", "", "", "", reason) for name, reason in sorted(ceilings.absent.items())
    ]
    return Grid(
        title="ceilings",
        header=("rate", "best", "scatter", "timings", "datasheet", "of it", "by"),
        rows=tuple(rows),
        text=frozenset({"rate", "by"}),
    )


def render_ceilings(ceilings: Ceilings, console: Console, *, where: str) -> None:
    """Print the table with its key, date, method and doubts.

    Args:
        where: the file they are kept in.
    """
    page = Page(console)
    page.line(ceilings.key, style="bold")
    page.grid(ceilings_grid(ceilings))
    page.line()
    date = f"{'cached, of' if ceilings.kept else 'measured now,'} {ceilings.measured_utc}"
    page.field("date", date)
    page.field("method", ceilings.method)
    page.field("load", ceilings.load or "not recorded")
    if ceilings.cache_bytes:
        page.field("last cache", f"{two_digits(ceilings.cache_bytes / 1e6)} MB")
    page.field("kept in", where)
    for note in ceilings_notes(ceilings):
        page.line(f"note: {note}", style="yellow")
    page.line(
        "scatter: how far the median round lies below the best. What rests on these carries two digits."
    )


def ceilings_json(ceilings: Ceilings) -> str:
    """The ceilings for programs: the record's own fields, and the version of this form."""
    held: dict[str, Any] = {
        "ceilings_version": EXPORT_VERSION,
        **msgspec.to_builtins(ceilings),
    }
    return json_text(held)


def _stated(ceilings: Ceilings, name: str) -> str:
    stated = ceilings.stated(name)
    return f" (datasheet {rate_text(name, stated).partition(' ')[0]})" if stated else ""
