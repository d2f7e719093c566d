"""The run as TensorBoard and its plugins read it."""

from __future__ import annotations

from layerscope.passes.draft import Draft, known
from layerscope.passes.record import record_of
from layerscope.passes.session import Session
from layerscope.write.for_tensorboard import write_run_events, write_trace_for_plugin


def torch_tb_profiler(session: Session, draft: Draft) -> None:
    """The trace once more, as torch-tb-profiler reads it."""
    with session.progress.task("trace for torch-tb-profiler", 1, ticks=True) as advance:
        draft.files |= write_trace_for_plugin(
            known(draft.examined).workings,
            session.model.record.modules,
            session.destination.created,
            session.folder,
        )
        advance(1)


def tensorboard(session: Session, draft: Draft) -> None:
    """The event file: what TensorBoard shows of the run, power over time included."""
    account = draft.examined.account if draft.examined else None
    record, step = record_of(session, draft), session.destination.step
    draft.files |= write_run_events(session.folder, record, account, draft.power, step)
