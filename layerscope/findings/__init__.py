"""A run's evidence in, findings in words out: what is seen where, ranked by what could be saved.

A file here that declares `RULES`, functions from the evidence to a verdict, is all that a finding needs.
`PLACE`, a number, says where its rules stand among the others (findings that could save the same, and
rules that lacked evidence, are listed in that order); without one they come last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from layerscope.core.listing import modules_in
from layerscope.core.remedy import remedies
from layerscope.findings.evidence import Evidence, Verdict
from layerscope.findings.places import largest_first
from layerscope.findings.scaling import scaling, scaling_finding, scaling_of
from layerscope.findings.worth import in_currencies
from layerscope.records.finding import Finding, NotJudged

__all__ = [
    "RULES",
    "Evidence",
    "find",
    "not_judged",
    "rank",
    "scaling",
    "scaling_finding",
    "scaling_of",
]

_LAST = 1 << 30


def _rules() -> tuple[Callable[[Evidence], Verdict], ...]:
    """The rules of every file here, by place and then by the file's name."""
    files = [module for module in modules_in(__name__) if hasattr(module, "RULES")]
    ordered = sorted(files, key=lambda module: getattr(module, "PLACE", _LAST))
    return tuple(rule for module in ordered for rule in module.RULES)


RULES = _rules()


def find(evidence: Evidence) -> tuple[Finding, ...]:
    """Everything the rules see in one run, largest possible saving first."""
    found: list[Finding] = []
    for rule in RULES:
        verdict = rule(evidence)
        if not isinstance(verdict, NotJudged):
            found.extend(_finished(finding, evidence) for finding in verdict)
    return rank(found)


def _finished(finding: Finding, evidence: Evidence) -> Finding:
    """With what all findings have alike: further remedies, currencies, its rows largest first."""
    told = in_currencies(_with_remedies(finding, evidence), evidence)
    return replace(told, rests_on=largest_first(told.rests_on, evidence))


def _with_remedies(finding: Finding, evidence: Evidence) -> Finding:
    """The finding with the remedies that its own words cannot know, since they came later."""
    more = [
        evidence.advice(remedy)
        for remedy in remedies().values()
        if not remedy.aliases
        and remedy.name not in evidence.followed
        and any(finding.id == rule or finding.id.startswith(f"{rule}-") for rule in remedy.helps)
    ]
    if not more:
        return finding
    said = [finding.try_next] if finding.try_next else []
    return replace(finding, try_next="; or ".join([*said, *more]))


def not_judged(evidence: Evidence) -> tuple[NotJudged, ...]:
    """The rules that lacked evidence, each with what it would need."""
    verdicts = [rule(evidence) for rule in RULES]
    return tuple(verdict for verdict in verdicts if isinstance(verdict, NotJudged))


def rank(findings: list[Finding]) -> tuple[Finding, ...]:
    """Largest possible saving first; without an estimate, the time a finding concerns bounds it."""

    def bound(finding: Finding) -> int:
        saved = finding.saving.saved_ns
        return (finding.concerns_ns or 0) if saved is None else saved

    return tuple(sorted(findings, key=bound, reverse=True))
