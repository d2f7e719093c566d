"""One examined run in, its findings and what could not be judged out."""

from __future__ import annotations

from pathlib import Path

from layerscope.core.files import FINDINGS_FILE
from layerscope.findings import Evidence, find, not_judged
from layerscope.joules.layer_energy import LayerEnergy
from layerscope.records import Account, RunRecord
from layerscope.records.finding import Findings
from layerscope.records.optimization import RECOMPILE_LIMIT
from layerscope.report.findings import read_findings_json, write_findings_json
from layerscope.timeline.idle import Idle


def findings_of(
    account: Account,
    idle: Idle | None,
    record: RunRecord | None,
    layer_energy: LayerEnergy | None = None,
) -> Findings:
    """Judge one run, or one bare trace (`record` None)."""
    evidence = Evidence(
        account=account,
        idle=idle,
        record=record,
        ceilings=record.ceilings if record else None,
        first_call_us=record.first_call_us if record else None,
        recompiles=_recompiles(record),
        recompile_limit=RECOMPILE_LIMIT,
        layer_energy=layer_energy,
    )
    return Findings(find(evidence), not_judged(evidence))


def _recompiles(record: RunRecord | None) -> dict[str, int] | None:
    """Compiled part -> graphs compiled after the warm-up; nothing to count in an eager run."""
    if record is None or record.optimization is None:
        return None
    return {part.part: part.later_graphs for part in record.optimization.parts}


def write_findings(findings: Findings, folder: Path) -> dict[str, str]:
    """Write `findings.json`; returns role -> file name."""
    write_findings_json(findings.seen, findings.not_judged, folder / FINDINGS_FILE)
    return {"findings": FINDINGS_FILE}


def read_findings(path: Path) -> Findings:
    """Findings as a run wrote them down.

    Raises:
        DataError: the file is damaged.
    """
    held = read_findings_json(path)
    return Findings(held.findings, held.not_judged)
