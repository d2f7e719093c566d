"""One batch's executed work beside the same work counted in other ways: plain data."""

from __future__ import annotations

from dataclasses import dataclass

from layerscope.core.run_config import RunConfig
from layerscope.records.run_record import BatchRecord, Environment, ModelRecord
from layerscope.records.work import Check, CountedWork


@dataclass(frozen=True, kw_only=True)
class CrossChecked:
    """One batch, its executed work, and the same work counted in other ways.

    Attributes:
        new_tokens: tokens generated per sample of the batch.
        choices: one sentence for each choice that layerscope made.
    """

    config: RunConfig
    environment: Environment
    model: ModelRecord
    batch: BatchRecord
    new_tokens: tuple[int, ...]
    choices: tuple[str, ...]
    work: CountedWork
    checks: tuple[Check, ...]

    @property
    def differing(self) -> tuple[Check, ...]:
        """The checks that ran and whose sides differ."""
        return tuple(check for check in self.checks if check.failed)


def difference_text(check: Check) -> str:
    """A failed check in one line: both sides, their difference, and the numbers behind them."""
    sides = f"{check.name}: ours {check.ours:,}, theirs {check.theirs:,}"
    behind = f" ({'; '.join(check.unequal)})" if check.unequal else ""
    return f"{sides}, difference {check.difference:+,}{behind}"
