"""A `Diagnosis` in, the screen of `layerscope doctor` or its JSON out."""

from __future__ import annotations

import dataclasses
import json

from rich.console import Console

from layerscope.records.diagnosis import Check, Diagnosis
from layerscope.report.page import Page

# Of the JSON. 1 (2026-11): first version.
DIAGNOSIS_SCHEMA = 1
_STYLES = {"ok": "green", "missing": "red", "limited": "yellow", "unknown": "yellow"}
_INDENT = " " * 9


def render_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Print every check; what is not ok with what it costs and how to get it; then the verdict."""
    page = Page(console)
    page.line(f"layerscope {diagnosis.layerscope}: doctor", style="bold")
    page.line()
    width = max(len(name) for name in ("remedy", *(check.name for check in diagnosis.checks)))
    for check in diagnosis.checks:
        _check(page, check, width)
    page.line()
    page.line(_counts(diagnosis))
    page.line(verdict(diagnosis), style="bold green" if diagnosis.can_profile else "bold red")


def verdict(diagnosis: Diagnosis) -> str:
    """Whether `layerscope profile` can run here, in one sentence."""
    if diagnosis.can_profile:
        return "layerscope profile can run here"
    return (
        "layerscope profile cannot run here, not even with --model tiny --device cpu; "
        f"see: {', '.join(diagnosis.blocking)}"
    )


def diagnosis_json(diagnosis: Diagnosis) -> str:
    """The diagnosis for programs: `schema_version`, `layerscope`, `can_profile`, `blocking` and
    `checks`, each of these with `name`, `status`, `found`, `costs` and `remedy`."""
    return json.dumps(
        {
            "schema_version": DIAGNOSIS_SCHEMA,
            "layerscope": diagnosis.layerscope,
            "can_profile": diagnosis.can_profile,
            "blocking": list(diagnosis.blocking),
            "checks": [dataclasses.asdict(check) for check in diagnosis.checks],
        },
        indent=2,
    )


def _check(page: Page, check: Check, width: int) -> None:
    page.line(f"{check.status:<7}  {check.name:<{width}}  {check.found}", _STYLES[check.status])
    if check.status == "ok":
        return
    page.line(f"{_INDENT}{'costs':<{width}}  {check.costs}")
    if check.remedy:
        page.line(f"{_INDENT}{'remedy':<{width}}  {check.remedy}")


def _counts(diagnosis: Diagnosis) -> str:
    counts = dict.fromkeys(_STYLES, 0)
    for check in diagnosis.checks:
        counts[check.status] += 1
    return f"{len(diagnosis.checks)} checks: " + ", ".join(
        f"{count} {status}" for status, count in counts.items() if count
    )
