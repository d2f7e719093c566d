"""What failed in a sweep in, the error its command ends with out."""

from __future__ import annotations

from collections.abc import Sequence

from layerscope.core.errors import AccountingError, LayerscopeError
from layerscope.records.sweep import CellFailure


class CellsFailed(LayerscopeError):
    """Some cells of a sweep have no run, or an account that does not add up.

    `exit_code` is the first such cell's.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def verdict(
    failures: Sequence[CellFailure], accounting: Sequence[str], total: int
) -> CellsFailed | None:
    """The error a sweep ends with; None when every cell is done and adds up.

    Args:
        accounting: names of cells whose account does not add up.
        total: cells in the plan.
    """
    if not failures and not accounting:
        return None
    parts = []
    if failures:
        first = failures[0]
        said = " ".join(f"{name}={value}" for name, value in first.settings.items()) or first.id
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        parts.append(f"{len(failures)} of {total} cells have no run: {said}: {first.reason}{more}")
    if accounting:
        parts.append(f"{len(accounting)} of {total} accounts do not add up: {accounting[0]}")
    code = failures[0].exit_code if failures else AccountingError.exit_code
    return CellsFailed("; ".join(parts), code)
