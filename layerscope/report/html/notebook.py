"""An account or a comparison in, a few lines of HTML for a notebook's cell out, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from layerscope.records import Account, LayerTable, RunRecord
from layerscope.records.comparison import Comparison
from layerscope.report.account_grids import top_grid
from layerscope.report.accounting_line import accounting_line
from layerscope.report.compare import comparison_grids
from layerscope.report.html.page_rows import rows_json
from layerscope.report.html.render import render_page
from layerscope.report.kinds import Kind
from layerscope.report.page import Grid

_MOST_ROWS = 20
_HEIGHT = 460


def notebook_html(account: Account, record: RunRecord | None) -> str:
    """The heading, the account in a line, the icicle, and the kinds of layers with the most own time.

    The icicle is a page in a frame of its own, which can reach neither the notebook nor a network.
    """
    table = account.table
    grid = top_grid(table, _MOST_ROWS)
    name = record.name if record is not None else account.source
    left = len(table.rows) - len(grid.rows)
    more = f"<p>all {len(table.rows):,} rows: <code>.layers.to_pandas()</code></p>" if left else ""
    return (
        f"<p><b>{escape(name)}</b><br>{escape(accounting_line(table))}</p>"
        f"{_icicle(table)}{_table(grid)}{more}"
    )


def layers_html(table: LayerTable, kinds: Sequence[Kind]) -> str:
    """The largest of these kinds."""
    grid = top_grid(table, _MOST_ROWS, kinds=kinds)
    return f"{_table(grid)}<p>of {len(kinds):,} kinds: <code>.to_pandas()</code></p>"


def comparison_html(comparison: Comparison) -> str:
    """Base, other, and the tables of `layerscope compare`."""
    sides = f"base {comparison.base}", f"other {comparison.other}"
    heading = "<br>".join(map(escape, sides))
    grids = (f"<p>{escape(g.title)}</p>{_table(g)}" for g in comparison_grids(comparison))
    return f"<p>{heading}</p>{''.join(grids)}"


def _icicle(table: LayerTable) -> str:
    if not table.rows:
        return ""
    page = render_page("notebook.html", {"several": False}, rows_json(table))
    return (
        f'<iframe sandbox="allow-scripts" srcdoc="{escape(page)}" width="100%" height="{_HEIGHT}" '
        'style="border:0" title="Icicle of layers"></iframe>'
    )


def _table(grid: Grid) -> str:
    body = "".join(_row(cells, "td") for cells in grid.rows)
    return f"<table><thead>{_row(grid.header, 'th')}</thead><tbody>{body}</tbody></table>"


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
