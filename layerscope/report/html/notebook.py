"""An account in, a few lines of HTML for a notebook's cell out: what it is, and its largest layers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from layerscope.core.microseconds import us_grouped
from layerscope.records import Account, RunRecord
from layerscope.report.accounting_line import accounting_line
from layerscope.report.columns import share_of
from layerscope.report.selection import self_column, sorted_rows

_MOST_ROWS = 20


def notebook_html(account: Account, record: RunRecord | None) -> str:
    """The heading, the account in a line, and the layers with the most own time, every text escaped."""
    table = account.table
    rows = sorted_rows(list(table.rows), table, self_column(table))[:_MOST_ROWS]
    whole = table.whole
    has_device = whole.device_sum_ns is not None
    body = [
        (
            row.phase,
            row.layer,
            row.module,
            f"{row.calls:,}",
            _us(own := row.gpu_self_ns if has_device else row.cpu_self_ns),
            _us(row.gpu_total_ns if has_device else row.cpu_total_ns),
            _share(share_of(own, whole.device_sum_ns if has_device else whole.host_window_ns)),
        )
        for row in rows
    ]
    of = "device" if has_device else "host"
    header = ("phase", "layer", "module", "calls", f"{of} self µs", f"{of} total µs", "share")
    name = record.name if record is not None else account.source
    left = len(table.rows) - len(rows)
    more = f"<p>and {left:,} more rows: <code>.to_pandas()</code></p>" if left else ""
    return (
        f"<p><b>{escape(name)}</b><br>{escape(accounting_line(table))}</p>"
        f"<table><thead>{_row(header, 'th')}</thead>"
        f"<tbody>{''.join(_row(cells, 'td') for cells in body)}</tbody></table>{more}"
    )


def _us(ns: int | None) -> str:
    return "" if ns is None else us_grouped(ns)


def _share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
