"""`Evidence`: what the rules may look at, and the few sums that several of them need."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from layerscope.joules.layer_energy import LayerEnergy
from layerscope.records.finding import Finding, NotJudged
from layerscope.records.layer_table import LayerRow
from layerscope.records.run_record import RunRecord
from layerscope.records.tables import Account
from layerscope.records.work import Ceilings
from layerscope.timeline.idle import Idle
from layerscope.work.roofline import sum_ns

Verdict = tuple[Finding, ...] | NotJudged

# torch stops compiling a function after this many recompiles and runs it uncompiled.
RECOMPILE_LIMIT = 8
# Why a rule that asks what a run was told to do is silent on one that nobody told anything.
A_CAPTURE = "a capture does not know"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One run, or one bare trace; `None` is evidence that was not gathered.

    Attributes:
        idle: None when no device was traced.
        ceilings: the device's measured rates, to predict what another precision would take. FLOPs,
            bytes and rooflines stand in the account's rows where they were counted.
        first_call_us: FQN -> host time of the layer's very first call, µs, from the warm-up.
        layer_energy: of replayed layers; None where nobody asked for it.
        recompiles: compiled function -> how often it was compiled again during the run.
    """

    account: Account
    idle: Idle | None = None
    record: RunRecord | None = None
    ceilings: Ceilings | None = None
    first_call_us: Mapping[str, float] | None = None
    recompiles: Mapping[str, int] | None = None
    layer_energy: LayerEnergy | None = None
    recompile_limit: int = RECOMPILE_LIMIT

    @property
    def rows(self) -> tuple[LayerRow, ...]:
        """The layer table's rows that are no buckets."""
        return tuple(row for row in self.account.table.rows if not row.is_bucket)

    @property
    def time_of(self) -> str:
        """What `sum_ns` adds up, in words."""
        return "device time" if self.on_device else "operator time"

    @property
    def on_device(self) -> bool:
        """Whether the trace holds device events."""
        return self.account.table.whole.device_sum_ns is not None

    @property
    def unprofiled_idle_ns(self) -> int | None:
        """The traced batch's latency without the profiler, less the device's active time; None where
        either is not known, or of several devices."""
        trace = self.record.trace if self.record else None
        if self.idle is None or trace is None or trace.unprofiled_ns is None:
            return None
        if self.idle.devices != 1:
            return None
        return max(0, trace.unprofiled_ns - self.idle.active_ns)

    @property
    def optimizations(self) -> tuple[str, ...]:
        """Names of the run's optimizations; none where no configuration says them."""
        config = self.record.config if self.record is not None else None
        return config.optimizations if config is not None else ()

    @property
    def whole_ns(self) -> int:
        """All device time; on a CPU run all time inside operators."""
        whole = self.account.table.whole.device_sum_ns
        return sum_ns(self.account.table.rows) if whole is None else whole


def family_of(layer: str) -> str:
    """A layer's FQN with `*` for its first number: the same place in every block of a stack.

    Later numbers stay: in a T5's `block.3.layer.2` the second one tells attention from feed-forward.
    """
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", layer, count=1)


def by_family(
    rows: Iterable[LayerRow], where: Callable[[LayerRow], bool] = lambda row: True
) -> dict[tuple[str, str], list[LayerRow]]:
    """Rows by (family, phase), in table order."""
    families: dict[tuple[str, str], list[LayerRow]] = {}
    for row in rows:
        if where(row):
            families.setdefault((family_of(row.layer), row.phase), []).append(row)
    return families
