"""What the passes of a run have found so far. Each fills its fields; at the end they are the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from layerscope.core.files import RUN_FILE
from layerscope.records import (
    AccountRecord,
    Ceilings,
    CountedWork,
    EnergyRecord,
    LatencySample,
    MemoryRecord,
    PowerSample,
    Prediction,
    Quality,
    Report,
    TracePass,
)
from layerscope.records.finding import Findings
from layerscope.records.layer_energy import ReplayRecord
from layerscope.records.optimization import OptimizationRecord
from layerscope.records.pass_time import PassTime
from layerscope.records.provenance import Provenance

if TYPE_CHECKING:
    from layerscope.account.kind_times import TracedTimes

    # For the type checker alone: the passes carry what a reader made of the trace, and don't look in.
    from layerscope.joules.end_to_end_energy import EndToEnd
    from layerscope.joules.layer_energy import LayerEnergy
    from layerscope.measure.latency import TimedBatch
    from layerscope.passes.eager_guard import EagerRun
    from layerscope.runs.examine import Examined
    from layerscope.workload.batching import Batch
    from layerscope.workload.data.sample import Sample

T = TypeVar("T")


@dataclass(kw_only=True, eq=False)
class Draft:
    """A run so far: None and empty are what no pass has found yet.

    Any pass may add to files, failures and warnings, which end in the record; to failures before
    `tables`, which gives the verdict. A pass whose results have a place of their own in the record adds
    fields here.

    Attributes:
        first: the samples of the first batch.
        batches: each batch of the data once, timed, in order; those not kept without their inputs.
        kept: prepared full batches, for repeats and energy.
        whole: one batch's energy, measured whole.
        further_traces: of the same batch as `trace`, in order.
        further_times: what each of them says.
        files: role -> name of each file in the run's folder.
        failures: why the account is not to be trusted.
        warnings: what the user should know of the run.
        command: how the passes spent their time; known when all have ended.
    """

    first: Sequence[Sample] = ()
    warmups: tuple[LatencySample, ...] = ()
    first_call_us: dict[str, float] = field(default_factory=dict)
    batches: tuple[TimedBatch, ...] = ()
    kept: tuple[Batch, ...] = ()
    repeats: tuple[LatencySample, ...] = ()
    stopped: str | None = None
    first_token: tuple[LatencySample, ...] = ()
    energy: EnergyRecord | None = None
    power: tuple[PowerSample, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    quality: Quality | None = None
    quality_by_form: dict[str, Quality] = field(default_factory=dict)
    trace: TracePass | None = None
    further_traces: tuple[Path, ...] = ()
    further_times: list[TracedTimes] = field(default_factory=list)
    work: CountedWork | None = None
    memory: MemoryRecord | None = None
    eager: EagerRun | None = None
    optimization: OptimizationRecord | None = None
    ceilings: Ceilings | None = None
    provenance: Provenance | None = None
    examined: Examined | None = None
    whole: EndToEnd | None = None
    replay: ReplayRecord | None = None
    layer_energy: LayerEnergy | None = None
    account: AccountRecord | None = None
    report: Report | None = None
    findings: Findings | None = None
    files: dict[str, str] = field(default_factory=lambda: {"record": RUN_FILE})
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    command: tuple[PassTime, ...] = ()

    @property
    def latency(self) -> tuple[LatencySample, ...]:
        """All raw samples, in the order they ran."""
        return (*self.warmups, *(item.sample for item in self.batches), *self.repeats)

    @property
    def regions(self) -> tuple[str, ...]:
        """FQNs of the parts that ran compiled."""
        return self.optimization.compiled if self.optimization else ()


def known(value: T | None) -> T:
    """What an earlier pass has found.

    Raises:
        LookupError: that pass has not run: the list of passes is in another order than they need.
    """
    if value is None:
        raise LookupError("a pass needs what no pass before it has found")
    return value
