"""`Evidence`: what the rules may look at, and the few sums that several of them need."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from layerscope.core.cached import cached_property
from layerscope.core.remedy import Remedy
from layerscope.joules.layer_energy import LayerEnergy
from layerscope.records.finding import Finding, NotJudged
from layerscope.records.layer_table import LayerRow
from layerscope.records.run_record import RunRecord
from layerscope.records.tables import Account
from layerscope.records.work import Ceilings
from layerscope.timeline.idle import Idle, PhaseIdle
from layerscope.work.roofline import sum_ns

Verdict = tuple[Finding, ...] | NotJudged

# torch stops compiling a function after this many recompiles and runs it uncompiled.
RECOMPILE_LIMIT = 8
# What compiled code looks like in a trace: its operators, its kernels, and the launches of a graph.
COMPILED_OPERATORS = ("Torch-Compiled Region", "## Call CompiledFxGraph", "CompiledFunction")
COMPILED_KERNELS = ("triton_",)
GRAPH_LAUNCHES = frozenset({"graph"})
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
        attention_reasons: (layer, phase) -> why torch takes no fused attention there, in its own words;
            empty where it was not asked.
    """

    account: Account
    idle: Idle | None = None
    record: RunRecord | None = None
    ceilings: Ceilings | None = None
    first_call_us: Mapping[str, float] | None = None
    recompiles: Mapping[str, int] | None = None
    layer_energy: LayerEnergy | None = None
    recompile_limit: int = RECOMPILE_LIMIT
    attention_reasons: Mapping[tuple[str, str], str] = field(default_factory=dict)

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
    def foreign(self) -> bool:
        """Whether no run of layerscope stands behind the trace, so that its options mean nothing."""
        return self.record is None or self.record.config is None

    @cached_property
    def compiled_phases(self) -> frozenset[str]:
        """Phases in which compiled code ran, as kernels and operators tell."""
        kernels = {
            row.phase
            for row in self.account.kernels
            if row.launch in GRAPH_LAUNCHES or row.kernel.startswith(COMPILED_KERNELS)
        }
        operators = {
            row.phase
            for row in self.account.operators
            if row.operator.startswith(COMPILED_OPERATORS)
        }
        return frozenset(kernels | operators)

    @cached_property
    def followed(self) -> frozenset[str]:
        """Names of the optimizations that this run already has: as told, or as the trace shows."""
        found = set(self.optimizations)
        if any(row.launch in GRAPH_LAUNCHES for row in self.account.kernels):
            found |= {"cudagraphs", "compile"}
        if self.compiled_phases or (self.record is not None and self.record.compiled_parts):
            found.add("compile")
        if self.record is not None and self.record.how.fp32_matmul == "high":
            found.add("tf32")
        return frozenset(found)

    def advice(self, remedy: Remedy) -> str:
        """How to try a remedy: the option of a run, torch's own words for anything else; "" where the
        run already follows it."""
        if remedy.name in self.followed:
            return ""
        how = (remedy.torch or f"what {remedy.name} does") if self.foreign else remedy.option
        return f"{how} ({remedy.does})"

    def said(self, option: str, torch: str) -> str:
        """An option of layerscope where the run is one of its own, else the same in plain words."""
        return torch if self.foreign else option

    def host_share(self, phase: PhaseIdle) -> float:
        """The share of a phase in which the device waits for late launches.

        Where the batch was timed without the profiler, of that time: its idle time is dealt out as the
        gaps of the trace are.
        """
        host = phase.host_ns * self.unprofiled_over_profiled
        idle = phase.idle_ns * self.unprofiled_over_profiled
        return host / (phase.active_ns + idle) if phase.active_ns + idle else 0.0

    @property
    def unprofiled_over_profiled(self) -> float:
        """Idle time without the profiler over that with it; 1 where the first is not known."""
        waiting = self.unprofiled_idle_ns
        if waiting is None or self.idle is None or not self.idle.idle_ns:
            return 1.0
        return min(1.0, waiting / self.idle.idle_ns)

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


def twins_of(layer: str) -> str:
    """A layer's FQN with `*` for all of its numbers: one pattern for what differs by its place alone."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", layer)


def by_family(
    rows: Iterable[LayerRow], where: Callable[[LayerRow], bool] = lambda row: True
) -> dict[tuple[str, str], list[LayerRow]]:
    """Rows by (family, phase), in table order."""
    families: dict[tuple[str, str], list[LayerRow]] = {}
    for row in rows:
        if where(row):
            families.setdefault((family_of(row.layer), row.phase), []).append(row)
    return families
