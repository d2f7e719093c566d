"""What could be better in this run, and its figures."""

from __future__ import annotations

from layerscope.passes.draft import Draft, known
from layerscope.passes.record import record_of
from layerscope.passes.session import Session
from layerscope.write.judged import judge, write_figures


def findings(session: Session, draft: Draft) -> None:
    """Judge the account, and draw it; a sweep's cell and a quick run go without figures."""
    examined, record = known(draft.examined), record_of(session, draft)
    with session.progress.task("findings and figures", 1, ticks=True) as advance:
        draft.findings, files = judge(
            examined, record, draft.layer_energy, session.folder, draft.work
        )
        draft.files |= files
        if session.destination.step is None and not session.config.quick:
            drawn = write_figures(examined, record, draft.layer_energy, session.folder)
            draft.files |= drawn.files
        advance(1)
