"""A `SentRun` in, the text of its page out: templates, style and script put together.

Everything a run names is escaped by the template engine. The page's policy allows only the style
and the script that stand in it, by their hashes, and images that it holds itself.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerscope.core.microseconds import us_grouped
from layerscope.core.units import percent_fixed
from layerscope.report.accounting_line import accounting_line
from layerscope.report.beside_batch import beside_grid
from layerscope.report.end_to_end import end_to_end
from layerscope.report.findings import saving_text
from layerscope.report.html import shares
from layerscope.report.html.headline import headlines
from layerscope.report.html.method import config_lines, environment_lines, method_lines
from layerscope.report.html.page_rows import rows_json
from layerscope.report.html.pictures import CAPTIONS, data_uri
from layerscope.report.html.sent_run import SentRun
from layerscope.report.html.shares import energy_shares
from layerscope.report.layer_energy import energy_lines
from layerscope.report.use import use_grid
from layerscope.report.what_ran import in_short, what_ran
from layerscope.stats.beside_batch import beside_batch

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"
_WEB = Path(__file__).parents[2] / "web"


def report_html(sent: SentRun) -> str:
    """The whole page. The same run gives the same text."""
    rows = rows_json(sent.account.table) if sent.account else ""
    return render_page("page.html", _words(sent), rows)


def render_page(template: str, words: dict[str, Any], rows: str) -> str:
    """A template with its words, the style and, where there are rows to draw, the script.

    Args:
        rows: from `page_rows`; empty for a page without an icicle, which then has no script at all.
    """
    from markupsafe import Markup

    style = (_WEB / "report.css").read_text(encoding="utf-8")
    script = _script() if rows else ""
    return (
        _environment()
        .get_template(template)
        .render(
            **words,
            policy=_policy(style, script),
            style=Markup(style),  # noqa: S704 - a file of this package
            script=Markup(script),  # noqa: S704 - files of this package
            rows=Markup(rows),  # noqa: S704 - `json_in_html` leaves no markup
        )
    )


def _words(sent: SentRun) -> dict[str, Any]:
    record, account, use = sent.record, sent.account, sent.use
    beside = beside_batch(record)
    return {
        "sent": sent,
        "several": False,
        "record": record,
        "headlines": headlines(record),
        "under": " · ".join(in_short(record)),
        "ran": list(what_ran(record)),
        "measured": list(end_to_end(record)),
        "saving_text": saving_text,
        "phases": shares.phases(account.table) if account else None,
        "beside": beside_grid(beside) if beside else None,
        "groups": shares.groups(account.table) if account else None,
        "kinds": shares.kinds(account) if account else None,
        "accounting": accounting_line(account.table) if account else "",
        "activity": _activity(sent),
        "use": use_grid(use) if use else None,
        "energy": energy_shares(sent.layer_energy) if sent.layer_energy else None,
        "energy_lines": list(energy_lines(sent.layer_energy)) if sent.layer_energy else [],
        "pictures": [(data_uri(item), CAPTIONS[item.role]) for item in sent.pictures],
        "method": list(method_lines(sent)),
        "environment": list(environment_lines(record)),
        "config": list(config_lines(record)),
        "warnings": list(sent.warnings()),
    }


def _activity(sent: SentRun) -> str:
    """How much of the profiled window the device worked; empty without a device."""
    if sent.account is None:
        return ""
    whole = sent.account.table.whole
    if whole.device_active_ns is None or not whole.window_span_ns:
        return ""
    idle = whole.window_span_ns - whole.device_active_ns
    return (
        f"device active {us_grouped(whole.device_active_ns)} us of the profiled window's "
        f"{us_grouped(whole.window_span_ns)} us: idle {percent_fixed(idle, whole.window_span_ns)}"
    )


# What the page's one module is made of, in this order.
_INLINE = ("icicle.js", "places.js", "report.js")


def _script() -> str:
    """The icicle and what drives it, as one module: it is inline, so it can import nothing."""
    parts = [(_WEB / name).read_text(encoding="utf-8") for name in _INLINE]
    return "\n".join(parts)


def _policy(style: str, script: str) -> str:
    scripts = f"'{_hash(script)}'" if script else "'none'"
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src {scripts}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode("ascii")


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
