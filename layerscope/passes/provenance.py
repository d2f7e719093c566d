"""Which layers the compiled code of a run came from."""

from __future__ import annotations

from layerscope.passes.draft import Draft
from layerscope.passes.session import Session
from layerscope.records.provenance import save_provenance


def provenance(session: Session, draft: Draft) -> None:
    """Note what is known of the compiled code by now, in a file too."""
    if session.compiled is not None:
        draft.provenance = session.compiled.provenance()
        draft.files |= save_provenance(draft.provenance, session.folder)
