"""A `SentSweep` in, Markdown for a comment on a pull request out: cells first, the rest folded."""

from __future__ import annotations

from collections.abc import Iterator

from layerscope.report.markdown import escape
from layerscope.report.pull_request import fold
from layerscope.report.sweep.beside import beside_grid
from layerscope.report.sweep.grids import exponent_grid, name_of, reasons, sweep_grid
from layerscope.report.sweep.markdown import front_text, grid_markdown
from layerscope.report.sweep.sent_sweep import SentSweep
from layerscope.report.sweep.shares import cells_by_group, cells_by_phase

_SHOWN = 24  # lines that a reader takes in at once; more are folded


def sweep_comment(sent: SentSweep) -> str:
    """The comment; names stand in it literally. Tables that would make it too long are named."""
    rows, axes = sent.rows, sent.axes
    devices = dict.fromkeys(row.device_name for row in sent.measured if row.device_name)
    models = dict.fromkeys(row.config.model for row in rows)
    where = (
        f"{', '.join(models)} · {', '.join(devices) or 'no device'} · layerscope {sent.layerscope}"
    )
    front = escape(front_text(sent.front, rows, axes))
    parts = [
        f"### layerscope sweep: {escape(sent.config.name)}",
        escape(where),
        *(f"**The account does not add up:** {escape(text)}" for text in sent.failures),
        f"**{len(sent.measured)} of {len(rows)} cells measured.** {front}",
    ]
    grid = grid_markdown(sweep_grid(rows, axes))
    few = len(rows) <= _SHOWN
    if few:
        parts.append(grid)
    folded = [] if few else [("all cells", grid)]
    return fold("\n\n".join(parts), [*folded, *_folded(sent)])


def _folded(sent: SentSweep) -> Iterator[tuple[str, str]]:
    rows, axes = sent.rows, sent.axes
    notes = [f"- {escape(line)}" for line in reasons(rows, axes)]
    if notes:
        yield "what is absent, and warnings", "\n".join(notes)
    if sent.seen:
        lines = [
            f"- {escape(finding.sentence)} ({len(cells)} of {len(sent.measured)} cells; in the words "
            f"of {escape(name_of(cells[0], axes))})"
            for finding, cells in sent.seen
        ]
        yield "findings", "\n".join(lines)
    for title, table in (
        ("time by phase", cells_by_phase(rows, axes, sent.layers)),
        ("time by group", cells_by_group(rows, axes, sent.layers)),
    ):
        if table is not None:
            yield title, f"{escape(table.title)}\n\n{grid_markdown(table)}"
    if sent.exponents:
        table = exponent_grid(sent.exponents)
        yield table.title, grid_markdown(table)
    if sent.beside:
        yield "beside the published table", grid_markdown(beside_grid(sent.beside, rows, axes))
