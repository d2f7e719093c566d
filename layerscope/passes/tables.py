"""The account's tables, and its verdict."""

from __future__ import annotations

from layerscope.passes.draft import Draft, known
from layerscope.passes.session import Session
from layerscope.write.tables import account_record, write_tables


def tables(session: Session, draft: Draft) -> None:
    """Say whether the account adds up, and write its tables."""
    found = known(draft.examined).account
    draft.account = account_record(found, tuple(draft.failures))
    draft.files |= write_tables(found, session.folder)
