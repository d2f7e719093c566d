"""A saved run in, Markdown for a comment on a pull request out: short first, the tables folded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from layerscope.report.accounting_line import accounting_line
from layerscope.report.beside_batch import beside_grid
from layerscope.report.findings import saving_text
from layerscope.report.html.headline import headlines
from layerscope.report.html.sent_run import SentRun
from layerscope.report.markdown import (
    beside_markdown,
    escape,
    group_markdown,
    phase_markdown,
    top_markdown,
)
from layerscope.report.what_ran import in_short, what_ran
from layerscope.stats.beside_batch import beside_batch

# GitHub takes 65,536 characters in one comment.
MOST_CHARACTERS = 60_000
_TOP = 15
_FINDINGS = 5


def pull_request_markdown(sent: SentRun) -> str:
    """The comment; names stand in it literally. Tables that would make it too long are named."""
    parts = [
        f"### layerscope: {escape(sent.heading)}",
        _where(sent),
        *(f"**The account does not add up:** {escape(text)}" for text in sent.failures),
        *((escape(f"files: {sent.verified}"),) if sent.verified else ()),
        _numbers(sent),
        *_account(sent),
        *_findings(sent),
    ]
    return fold("\n\n".join(parts), _folded(sent))


def fold(text: str, folded: Iterable[tuple[str, str]]) -> str:
    """The text with (title, Markdown) folded below; what would make it too long is named instead."""
    for title, body in folded:
        whole = f"{text}\n\n<details><summary>{title}</summary>\n\n{body}\n\n</details>"
        if len(whole) > MOST_CHARACTERS:
            text += f"\n\n{title}: too long for a comment; see the HTML report."
        else:
            text = whole
    return text + "\n"


def _where(sent: SentRun) -> str:
    record = sent.record
    words = (
        *in_short(record),
        f"torch {record.environment.torch or 'unknown'}",
        f"layerscope {record.environment.layerscope}",
    )
    return f"{escape(' · '.join(words))}  \nrun {escape(record.name)}"


def _numbers(sent: SentRun) -> str:
    lines = ["| | value | per sample | how sure |", "|---|---:|---:|---|"]
    for item in headlines(sent.record):
        if item.value is None:
            lines.append(f"| {item.name} | not measured | | {escape(item.reason)} |")
            continue
        of = f" {item.of}" if item.of else ""
        cells = (f"{item.value}{of}", item.beside.removesuffix(" per sample"), item.interval)
        lines.append(f"| {item.name} | " + " | ".join(map(escape, cells)) + " |")
    return "\n".join(lines)


def _account(sent: SentRun) -> Iterator[str]:
    if sent.account is None:
        reason = dict(sent.absent).get("account", "the run was not traced")
        yield f"No account by layer: {escape(reason)}"
        yield from _beside(sent)
        return
    table = sent.account.table
    yield f"**{escape(accounting_line(table))}**"
    yield phase_markdown(table).rstrip()
    yield from _beside(sent)


def _beside(sent: SentRun) -> Iterator[str]:
    rows = beside_batch(sent.record)
    if rows:
        yield f"{escape(beside_grid(rows).title)}\n\n{beside_markdown(rows).rstrip()}"


def _findings(sent: SentRun) -> Iterator[str]:
    if sent.findings is None:
        yield "Findings: not judged."
        return
    if not sent.findings:
        yield "Findings: none."
        return
    lines = ["**Findings**", ""]
    for number, finding in enumerate(sent.findings[:_FINDINGS], 1):
        lines.append(f"{number}. {escape(finding.sentence)}")
        lines.append(f"   *{escape(saving_text(finding.saving))}*")
        if finding.try_next:
            lines.append(f"   Try {escape(finding.try_next)}")
    more = len(sent.findings) - _FINDINGS
    if more > 0:
        lines += ["", f"{more} more in the full report."]
    yield "\n".join(lines)


def _folded(sent: SentRun) -> Iterator[tuple[str, str]]:
    """(title, Markdown) of what stands folded: groups, layers, what ran, what is missing."""
    if sent.account is not None:
        yield "by group", group_markdown(sent.account.table).rstrip()
        yield (
            f"top {_TOP} kinds of layers by self time",
            top_markdown(sent.account.table, _TOP).rstrip(),
        )
    yield "what ran, and where", _list(what_ran(sent.record))
    unsaid = [*sent.absent, *(("warning", text) for text in sent.warnings())]
    unsaid += [(f"not judged: {item.rule}", item.reason) for item in sent.not_judged]
    if unsaid:
        yield "not in this report, and warnings", _list(iter(unsaid))


def _list(items: Iterator[tuple[str, str]]) -> str:
    return "\n".join(
        f"- {escape(label)}: {escape(text)}" if label else f"- {escape(text)}"
        for label, text in items
    )
