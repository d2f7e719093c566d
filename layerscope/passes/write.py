"""What a run has beside its trace: counted work, answers and power, a file each."""

from __future__ import annotations

from layerscope.passes.draft import Draft, known
from layerscope.passes.session import Session
from layerscope.write.tables import write_answers, write_power, write_work


def write(session: Session, draft: Draft) -> None:
    """Write the files that need no trace."""
    draft.files |= write_work(known(draft.work), session.folder)
    if draft.predictions:
        quality = known(draft.quality)
        draft.files |= write_answers(draft.predictions, quality, session.folder)
    if draft.power:
        draft.files |= write_power(draft.power, session.folder)
