"""What docs/results/statistics/README.md says of the intervals' coverage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean

from published.data import Row, table
from published.pages import Page, page

_WER = "statistics/wer_coverage.csv"
_LATENCY = "statistics/latency_coverage.csv"
ANSWERS = ("8", "32", "128", "300")
# What was wanted of each cell, and by how much an interval may be wider than the exact one.
LEAST_COVERAGE, MOST_WIDTH, MOST_WIDTH_ONE_WORD = 0.92, 1.5, 1.3
LEAST_LATENCY = 0.9
_WORDS = {"one word": 1.0, "5 words": 5.0, "1 to 12 words": 6.5}


def worlds() -> dict[str, list[Row]]:
    """The cells by the way of going wrong, in the order of the table."""
    found: dict[str, list[Row]] = {}
    for line in table(_WER):
        found.setdefault(line["errors"], []).append(line)
    return found


def asked() -> dict[str, list[Row]]:
    """The ways whose exact interval is known; the others mix two."""
    return {name: cells for name, cells in worlds().items() if cells[0]["width_over_exact"]}


def coverage_lines() -> list[str]:
    """`| one word | 8 | 0.00 → 0.977 | … |`, what falls short of the least in bold."""
    return [
        f"| {name} | {answers} | {' | '.join(map(_coverage, _of(cells, answers)))} |"
        for name, cells in worlds().items()
        for answers in ANSWERS
    ]


def width_lines() -> list[str]:
    """Widths over the exact interval's, what is too wide in bold."""
    return [
        f"| {name} | {answers} | {' | '.join(map(_width, _of(cells, answers)))} |"
        for name, cells in asked().items()
        for answers in ANSWERS
    ]


def summary_lines() -> list[str]:
    """Least and mean of each way of going wrong, before and now."""
    lines = []
    for name, cells in worlds().items():
        before, now = ([float(c[k]) for c in cells] for k in ("coverage_before", "coverage"))
        short = sum(value < LEAST_COVERAGE for value in now)
        lines.append(
            f"| {name} | {min(before):.2f}, {mean(before):.2f} | {min(now):.3f}, {mean(now):.3f} |"
            f" {short} of {len(cells)} |"
        )
    return lines


def latency_lines() -> list[str]:
    """One line per correlation and number of batches."""
    lines = []
    for line in table(_LATENCY):
        ruled = line["batches"].startswith("by the rule")
        noise = f", noise {100 * float(line['noise']):.0f} %" if ruled else ""
        now = float(line["coverage"])
        shown = f"{now:.3f}" if now >= LEAST_LATENCY else f"**{now:.3f}**"
        wider = f"{float(line['width_over_before']):.2f}" if line["width_over_before"] else ""
        lines.append(
            f"| {float(line['correlation']):.1f} | {line['batches']}{noise} |"
            f" {float(line['coverage_before']):.3f} | {shown} | {wider} |".replace("|  |", "| |")
        )
    return lines


def _of(cells: Sequence[Row], answers: str) -> Iterable[Row]:
    return [cell for cell in cells if cell["answers"] == answers]


def _coverage(cell: Row) -> str:
    now = float(cell["coverage"])
    shown = f"{now:.3f}" if now >= LEAST_COVERAGE else f"**{now:.3f}**"
    return f"{float(cell['coverage_before']):.2f} → {shown}"


def too_wide(cell: Row) -> bool:
    most = MOST_WIDTH_ONE_WORD if cell["errors"] == "one word" else MOST_WIDTH
    return float(cell["width_over_exact"]) > most


def _width(cell: Row) -> str:
    value = f"{float(cell['width_over_exact']):.2f}"
    return f"**{value}**" if too_wide(cell) else value


def expected_wrong_words(cell: Row) -> float:
    words = _WORDS[cell["errors"].partition(",")[0]]
    return int(cell["answers"]) * words * float(cell["rate"])


@page("docs/results/statistics/README.md")
def coverage(p: Page) -> None:
    p.given(
        "8, 32, 128 and 300 answers at rates of 0.003, 0.03, 0.125 and 0.5",
        "(40 of the old method)",
        "a cell of 0.95 scatters by 0.005, the old method's by 0.03",
        "| errors | answers | 0.003 | 0.03 | 0.125 | 0.5 |",
        "cells below 0.92 |",
        "Bold: below 0.92 now",
        "at least 0.92 in every cell and 0.94 over all",
        "at most 1.3 times as wide for one-word answers and 1.5 times for others",
        "wanted was 0.9 at 0.5 and 0.7",
        "noise of 5 %",
        "(noise 3 % and 10 %)",
    )
    for line in (*summary_lines(), *coverage_lines(), *width_lines(), *latency_lines()):
        p.says("{}", line)
    _error_rates(p)
    _latency(p)


def _error_rates(p: Page) -> None:
    (trials,) = {cell["trials"] for cell in table(_WER)}
    p.says("{:,} trials a cell", int(trials))
    cells = [cell for cells in asked().values() for cell in cells]
    held = [float(cell["coverage"]) for cell in cells]
    assert min(held) >= LEAST_COVERAGE
    p.says(
        "all {} cells cover at least {:.3f}, {:.3f} on average", len(cells), min(held), mean(held)
    )
    wide = [cell for cell in cells if too_wide(cell)]
    few = [c for c in cells if c["errors"].endswith("words, each on its own")]
    bound = max(map(expected_wrong_words, wide))
    assert {c["errors"] for c in wide} <= {c["errors"] for c in few}
    assert wide == [c for c in few if expected_wrong_words(c) <= bound]
    p.says(
        "**The width is missed in {} cells of {}**, by up to {:.1f} times the exact one: many-word"
        " answers whose words err on their own, where at most {:.1f} wrong words are expected",
        len(wide),
        len(cells),
        max(float(c["width_over_exact"]) for c in wide),
        bound,
    )
    mixed = [c for name, cells in worlds().items() if name not in asked() for c in cells]
    short = [c for c in mixed if float(c["coverage"]) < LEAST_COVERAGE]
    p.says(
        "In the {} cells of the four mixed ways {} fall short of 0.92, the least {:.3f}",
        len(mixed),
        len(short),
        min(float(c["coverage"]) for c in mixed),
    )


def _latency(p: Page) -> None:
    rows = table(_LATENCY)
    p.says(
        "{:,} trials a row, {} where the stopping rule",
        *sorted({int(r["trials"]) for r in rows}, reverse=True),
    )
    wanted = [float(r["coverage"]) for r in rows if r["correlation"] in ("0.5000", "0.7000")]
    p.says("the least there is {:.3f}", min(wanted))
    strong = [r for r in rows if r["correlation"] == "0.9000"]
    short = [r for r in strong if float(r["coverage"]) < LEAST_LATENCY]
    assert [r for r in rows if float(r["coverage"]) < LEAST_LATENCY] == short
    p.says(
        "At a correlation of 0.9, {} of {} rows fall short, the least {:.3f}",
        len(short),
        len(strong),
        min(float(r["coverage"]) for r in strong),
    )
