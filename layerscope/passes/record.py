"""A session and a draft in, the run's record out."""

from __future__ import annotations

from layerscope.passes.draft import Draft, known
from layerscope.passes.session import Session
from layerscope.records import RunRecord, WorkloadRecord
from layerscope.workload.data.sample import SampleSource


def record_of(session: Session, draft: Draft) -> RunRecord:
    """The record of what was found so far; `headline` must have passed."""
    return RunRecord(
        name=session.destination.name,
        created_utc=session.destination.created.isoformat(timespec="seconds"),
        choices=session.choices,
        config=session.config,
        environment=session.environment,
        model=session.model.record,
        workload=_workload(session.source, draft),
        latency=draft.latency,
        latency_stopped=draft.stopped,
        first_token=draft.first_token,
        first_call_us=draft.first_call_us,
        energy=draft.energy,
        predictions=draft.predictions,
        quality=draft.quality,
        quality_by_answer_form=draft.quality_by_form,
        trace=draft.trace,
        account=draft.account,
        ceilings=draft.ceilings,
        memory=draft.memory,
        optimization=draft.optimization,
        report=known(draft.report),
        files=dict(draft.files),
        planned=session.planned,
        warnings=(*_skipped(session.source), *draft.warnings),
        command=draft.command,
    )


def _workload(source: SampleSource, draft: Draft) -> WorkloadRecord:
    return WorkloadRecord(
        dataset=source.name,
        synthetic=source.synthetic,
        source=source.source,
        prompt=source.prompt,
        revision=source.revision,
        batches=tuple(item.batch.record for item in draft.batches),
        skipped=tuple(source.skipped),
    )


def _skipped(source: SampleSource) -> tuple[str, ...]:
    if not source.skipped:
        return ()
    return (f"{len(source.skipped)} broken samples skipped: {'; '.join(source.skipped[:3])}",)
