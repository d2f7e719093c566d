"""A run's evidence in, findings in words out: what is seen where, ranked by what could be saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from layerscope.core.remedy import remedies
from layerscope.findings.attention import attention_on_math_kernel
from layerscope.findings.compilation import eager_prefill, recompiles
from layerscope.findings.convolution import convolutions
from layerscope.findings.energy import energy_against_time, idle_energy
from layerscope.findings.evidence import Evidence, Verdict
from layerscope.findings.headroom import far_below_roofline
from layerscope.findings.inputs import image_size, padding
from layerscope.findings.launches import launch_bound
from layerscope.findings.matvec import matrix_vector_products
from layerscope.findings.precision import fp32_islands
from layerscope.findings.scaling import scaling, scaling_finding, scaling_of
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

RULES: tuple[Callable[[Evidence], Verdict], ...] = (
    launch_bound,
    fp32_islands,
    attention_on_math_kernel,
    eager_prefill,
    recompiles,
    far_below_roofline,
    matrix_vector_products,
    padding,
    image_size,
    convolutions,
    energy_against_time,
    idle_energy,
)


def find(evidence: Evidence) -> tuple[Finding, ...]:
    """Everything the rules see in one run, largest possible saving first."""
    found: list[Finding] = []
    for rule in RULES:
        verdict = rule(evidence)
        if not isinstance(verdict, NotJudged):
            found.extend(_with_remedies(finding, evidence) for finding in verdict)
    return rank(found)


def _with_remedies(finding: Finding, evidence: Evidence) -> Finding:
    """The finding with the remedies that its own words cannot know, since they came later."""
    more = [
        f"{remedy.option} ({remedy.does})"
        for remedy in remedies().values()
        if not remedy.aliases
        and remedy.name not in evidence.optimizations
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
