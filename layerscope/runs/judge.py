"""One examined run in, its findings and what could not be judged out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from layerscope.core.files import FINDINGS_FILE
from layerscope.findings import Evidence, find, not_judged, rank
from layerscope.findings.launches import retold
from layerscope.findings.places import rows_of
from layerscope.joules.layer_energy import LayerEnergy
from layerscope.records import Account, CountedWork, RunRecord
from layerscope.records.finding import Finding, Findings
from layerscope.records.optimization import RECOMPILE_LIMIT
from layerscope.records.tables import AttentionRow
from layerscope.report.findings import read_findings_json, write_findings_json
from layerscope.timeline.idle import Idle


def evidence_of(
    account: Account,
    idle: Idle | None,
    record: RunRecord | None,
    layer_energy: LayerEnergy | None = None,
    work: CountedWork | None = None,
) -> Evidence:
    """What the rules may look at."""
    return Evidence(
        account=account,
        idle=idle,
        record=record,
        ceilings=record.ceilings if record else None,
        first_call_us=record.first_call_us if record else None,
        recompiles=_recompiles(record),
        recompile_limit=RECOMPILE_LIMIT,
        layer_energy=layer_energy,
        attention_reasons={
            (row.layer, row.phase): ". ".join(row.unfused)
            for row in (work.rows if work is not None else ())
            if row.unfused
        },
    )


def findings_of(
    account: Account,
    idle: Idle | None,
    record: RunRecord | None,
    layer_energy: LayerEnergy | None = None,
    work: CountedWork | None = None,
) -> Findings:
    """Judge one run, or one bare trace (`record` None)."""
    evidence = evidence_of(account, idle, record, layer_energy, work)
    return Findings(find(evidence), not_judged(evidence))


def judged_again(
    account: Account,
    record: RunRecord | None,
    written: Findings,
    work: CountedWork | None = None,
) -> Findings:
    """Judge a run without its trace by its tables; what only the trace showed stays as written.

    Which layers' attention ran unfused stands in the finding that was written of them.
    """
    if not account.attention:
        account = replace(account, attention=_math_rows(account, written.seen))
    evidence = evidence_of(account, None, record, None, work)
    again = Findings(find(evidence), not_judged(evidence))
    lacking = {item.rule for item in again.not_judged} | _OF_THE_TRACE
    kept = tuple(
        retold(finding, evidence)
        for finding in written.seen
        if any(finding.id == rule or finding.id.startswith(f"{rule}-") for rule in lacking)
    )
    told = {finding.id for finding in kept}
    unknown = tuple(
        item
        for item in again.not_judged
        if not any(name == item.rule or name.startswith(f"{item.rule}-") for name in told)
    )
    return Findings(rank([*again.seen, *kept]), unknown)


# Rules that are silent, not wanting, without gaps and without replayed layers.
_OF_THE_TRACE = {"device-waits", "energy-against-time", "idle-energy", "recompiles"}


def _math_rows(account: Account, written: tuple[Finding, ...]) -> tuple[AttentionRow, ...]:
    """The rows of a written `attention-math-kernel` whose SDPA chose that kernel itself."""
    return tuple(
        AttentionRow(row.layer, row.phase, "math", row.calls)
        for finding in written
        if finding.id == "attention-math-kernel" and "chose its math kernel" in finding.sentence
        for place in finding.rests_on
        for row in rows_of(place, account.table.rows)
    )


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
