"""A saved run in, one self-contained HTML page out: made for sending, it fetches nothing."""

from __future__ import annotations

from layerscope.report.html.render import report_html
from layerscope.report.html.sent_run import Picture, SentRun

__all__ = ["Picture", "SentRun", "report_html"]
