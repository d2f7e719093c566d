"""An account in, a few lines of HTML for a notebook's cell out: what it is, and its largest layers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from layerscope.records import Account, RunRecord
from layerscope.report.account_grids import top_grid
from layerscope.report.accounting_line import accounting_line

_MOST_ROWS = 20


def notebook_html(account: Account, record: RunRecord | None) -> str:
    """The heading, the account in a line, and the layers with the most own time, every text escaped."""
    table = account.table
    grid = top_grid(table, _MOST_ROWS)
    name = record.name if record is not None else account.source
    left = len(table.rows) - len(grid.rows)
    more = f"<p>and {left:,} more rows: <code>.to_pandas()</code></p>" if left else ""
    return (
        f"<p><b>{escape(name)}</b><br>{escape(accounting_line(table))}</p>"
        f"<table><thead>{_row(grid.header, 'th')}</thead>"
        f"<tbody>{''.join(_row(cells, 'td') for cells in grid.rows)}</tbody></table>{more}"
    )


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
