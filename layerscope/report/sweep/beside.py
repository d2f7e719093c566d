"""Judgements against the published tables in; a grid, a Markdown section and a CSV file out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from layerscope.published.reference import VERDICTS, Judgement
from layerscope.records.sweep import Estimate, SweepRow
from layerscope.report.csv_lines import cell_text, write_csv
from layerscope.report.markdown import escape
from layerscope.report.page import Grid
from layerscope.report.sweep.grids import estimate_text, flops_text, name_of
from layerscope.report.sweep.markdown import grid_markdown

_UNIT = {"wer_value": "", "latency": " s", "energy": " J", "flops": ""}


def beside_grid(found: Sequence[Judgement], rows: Sequence[SweepRow], axes: Sequence[str]) -> Grid:
    """One line per cell and quantity: ours, the published one, the ratios, the verdict and why."""
    names = {row.cell: name_of(row, axes) for row in rows}
    return Grid(
        title="beside the published table, in its definitions",
        header=(
            "cell",
            "quantity",
            "ours",
            "published",
            "our ratio",
            "their ratio",
            "verdict",
            "why",
        ),
        rows=tuple(
            (
                names[item.cell],
                item.quantity,
                _ours(item),
                f"{item.their_text}{_UNIT[item.quantity]}" if item.their_text else "–",
                "–" if item.our_ratio is None else estimate_text(item.our_ratio),
                "–" if item.their_ratio is None else f"{item.their_ratio:.4g}",
                item.verdict,
                item.reason,
            )
            for item in found
        ),
        text=frozenset({"quantity", "verdict", "why"}),
    )


def beside_markdown(
    found: Sequence[Judgement],
    rows: Sequence[SweepRow],
    axes: Sequence[str],
    inferred: Mapping[str, str],
) -> str:
    """The grid, the count of verdicts, and how the published numbers were most likely measured."""
    counts = Counter(item.verdict for item in found)
    said = ", ".join(f"{counts[v]} {v}" for v in VERDICTS)
    lines = [f"- {escape(key)}: {escape(text)}" for key, text in inferred.items()]
    return "\n\n".join(
        [
            "## Beside the published table",
            "Seconds and joules of another GPU cannot be judged; their ratio to the first row can.",
            grid_markdown(beside_grid(found, rows, axes)),
            f"{said}.",
            "Inferred about the published numbers:\n\n" + "\n".join(lines),
        ]
    )


def write_beside_csv(
    found: Sequence[Judgement], rows: Sequence[SweepRow], axes: Sequence[str], path: Path
) -> None:
    """Write `sweep_reference.csv`; a blank cell is absent.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    names = {row.cell: name_of(row, axes) for row in rows}
    header = ["cell", "quantity"]
    header += [f"{who}_{end}" for who in ("ours", "our_ratio") for end in ("value", "low", "high")]
    header += ["published", "published_ratio", "verdict", "reason"]
    write_csv(
        path,
        header,
        (
            [
                names[item.cell],
                item.quantity,
                *_ends(item.ours),
                *_ends(item.our_ratio),
                cell_text(item.theirs),
                cell_text(item.their_ratio),
                item.verdict,
                item.reason,
            ]
            for item in found
        ),
    )


def _ours(item: Judgement) -> str:
    if item.quantity == "flops" and item.ours.value is not None:
        return flops_text(item.ours.value)
    return estimate_text(item.ours)


def _ends(estimate: Estimate | None) -> list[str]:
    if estimate is None:
        return ["", "", ""]
    interval = estimate.interval
    low, high = (interval.low, interval.high) if interval is not None else (None, None)
    return [cell_text(estimate.value), cell_text(low), cell_text(high)]
