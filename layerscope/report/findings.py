"""Findings in, `findings.json` and the screen's paragraph of each out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from layerscope.core.files import write_json
from layerscope.core.folder_file import read_json
from layerscope.core.units import ms, ms_grouped, ms_two, percent_two, significant
from layerscope.records.finding import Finding, NotJudged, Saving, Worth
from layerscope.report.page import Page

# History of the format:
# 1 (2026-11-24): first form.
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class FindingsFile:
    """What `findings.json` holds: what was seen, and the rules that lacked evidence."""

    schema_version: int = SCHEMA_VERSION
    findings: tuple[Finding, ...]
    not_judged: tuple[NotJudged, ...] = ()


def write_findings_json(
    findings: Sequence[Finding], not_judged: Sequence[NotJudged], path: Path
) -> None:
    """Write `findings.json`, indented; times are integer nanoseconds."""
    held = FindingsFile(findings=tuple(findings), not_judged=tuple(not_judged))
    write_json(path, held)


def read_findings_json(path: Path) -> FindingsFile:
    """Read what `write_findings_json` wrote.

    Raises:
        DataError: the file is missing, or not of this form.
    """
    return read_json(path, FindingsFile, "a findings file")


def render_findings(
    findings: Sequence[Finding], not_judged: Sequence[NotJudged], console: Console
) -> None:
    """Print each finding with what it could save and what to try, then what could not be judged."""
    page = Page(console)
    page.line()
    page.line("findings" if findings else "findings: none", style="bold")
    for number, finding in enumerate(findings, 1):
        page.line(f"{number}. {finding.sentence}")
        page.line(f"   {saving_text(finding.saving)}")
        if finding.try_next:
            page.line(f"   try: {finding.try_next}")
    if not_judged:
        # One line: what is unknown stands beside what is known without drowning it.
        said = "; ".join(f"{item.rule} ({item.reason})" for item in not_judged)
        page.line(f"not judged: {said}")


def saving_text(saving: Saving) -> str:
    """An estimate in words, in each currency that is known, with its basis, or why there is none."""
    if saving.saved_ns is None:
        return f"saving not estimated: {saving.basis}"
    most = "at most " if saving.at_most else "about "
    share, saved = "", f"{ms_grouped(saving.saved_ns)} ms"
    if saving.by_ceilings:
        saved = ms_two(saving.saved_ns)
    if saving.share is not None:
        part = percent_two(saving.share) if saving.by_ceilings else f"{100 * saving.share:.1f} %"
        share = f" ({part} of {saving.of})"
    worth = f"; {_worth_text(saving.worth)}" if saving.worth is not None else ""
    return f"could save {most}{saved}{share}{worth}: {saving.basis}"


def _worth_text(worth: Worth) -> str:
    """Latency now, latency once the host no longer limits, joules: each of its own base."""
    told = []
    if worth.now_ns is not None and worth.latency_ns:
        told.append(f"latency now {_of(worth.now_ns, worth.latency_ns)}")
    if worth.later_ns is not None and worth.device_ns:
        told.append(f"once the host no longer limits {_of(worth.later_ns, worth.device_ns)}")
    if worth.joules is not None and worth.whole_j:
        of = f"{significant(worth.whole_j, 3)} J ({percent_two(worth.joules / worth.whole_j)})"
        told.append(f"{significant(worth.joules, 2)} of {of}")
    if worth.reason:
        told.append(f"not in every currency, {worth.reason}")
    return ", ".join(told)


def _of(part_ns: int, whole_ns: int) -> str:
    return f"{ms_two(part_ns)} of {ms(whole_ns)} ({percent_two(part_ns / whole_ns)})"
