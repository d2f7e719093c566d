"""`Comparison`: what two runs, or two traces, differ in, with what may be concluded from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from layerscope.records.interval import Interval

Metric = Literal["latency", "ttft", "energy", "wer", "flops", "device", "host"]
METRICS: tuple[Metric, ...] = ("latency", "ttft", "energy", "wer", "flops", "device", "host")

Operator = Literal[">", ">=", "<", "<="]
OPERATORS: tuple[Operator, ...] = (">", ">=", "<", "<=")

Kind = Literal["environment", "work", "way", "noted"]
Form = Literal["relative", "absolute"]
Measure = Literal["device", "host"]

# History of the format of `compare --json`:
# 1 (2026-11-25): first form.
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One thing in which the two runs were not alike, before anything was measured.

    Attributes:
        kind: `environment`: machine or software, which makes a comparison unfair; `work`: what was
            asked for (model, data, batch); `way`: how it was run (dtype, optimization), usually the
            point of the comparison; `noted`: said, but seldom matters.
    """

    kind: Kind
    name: str
    base: str
    other: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricChange:
    """One headline number of both runs and what may be said about its change.

    Attributes:
        change: other minus base, in `unit`; None when a side is absent.
        relative: change over base as a fraction, where samples are paired by batch the change
            batch by batch; None when absent or when base is 0.
        interval: of `relative` or of `change`, as `interval_form` says; None where nothing was
            repeated.
        noise_floor: smallest change, in the form of `interval_form`, that stands out from what
            repeats within the runs show; None where nothing was repeated.
        shown: whether the interval excludes 0 and the change exceeds the noise floor; for a count,
            whether it differs.
        verdict: the conclusion in words.
        absent: why it could not be judged at all; empty when it could.
        basis: how the interval and the floor were made.
    """

    metric: Metric
    unit: str
    base: float | None
    other: float | None
    change: float | None = None
    relative: float | None = None
    interval: Interval | None = None
    interval_form: Form = "relative"
    noise_floor: float | None = None
    shown: bool = False
    verdict: str
    absent: str = ""
    basis: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerChange:
    """Self time of one (layer, phase), or of a bucket, on both sides. Nanoseconds; None: no row."""

    layer: str
    phase: str
    module: str
    group: str
    base_ns: int | None
    other_ns: int | None
    base_calls: int | None
    other_calls: int | None
    layer_kind: str = ""  # of both sides' rows; the other's where they differ

    @property
    def kind(self) -> str:
        """The name that the row is folded by."""
        return self.layer_kind or self.layer

    @property
    def change_ns(self) -> int:
        """Other minus base; a side without the row took no time."""
        return (self.other_ns or 0) - (self.base_ns or 0)

    @property
    def status(self) -> Literal["both", "appeared", "vanished"]:
        """Whether both sides have the row."""
        if self.base_ns is None:
            return "appeared"
        return "vanished" if self.other_ns is None else "both"


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseChange:
    """Self times of one phase, or of one bucket, summed over its rows. Nanoseconds."""

    name: str
    base_ns: int
    other_ns: int

    @property
    def change_ns(self) -> int:
        """Other minus base."""
        return self.other_ns - self.base_ns


@dataclass(frozen=True, kw_only=True)
class LayerComparison:
    """The per-layer differences of two traced batches, largest absolute change first.

    Attributes:
        measure: device time where both traces have it, else host time of the calling thread.
        base_whole_ns, other_whole_ns: the wholes, measured independently of the rows.
    """

    measure: Measure
    rows: tuple[LayerChange, ...]
    phases: tuple[PhaseChange, ...]
    base_whole_ns: int
    other_whole_ns: int
    notes: tuple[str, ...] = ()

    @property
    def change_ns(self) -> int:
        """Difference of the wholes, other minus base."""
        return self.other_whole_ns - self.base_whole_ns

    @property
    def unexplained_ns(self) -> int:
        """Sum of the rows' differences minus the difference of the wholes: 0 when all is there."""
        return sum(row.change_ns for row in self.rows) - self.change_ns


@dataclass(frozen=True, kw_only=True, slots=True)
class EnergyChange:
    """One replayed unit in both runs. Joules of the traced batch.

    Attributes:
        base_above_idle_j, other_above_idle_j: above idle power, as replayed.
        half_j: half the 95 % interval of their difference.
        base_equal_wall_j, other_equal_wall_j: with idle power over the mean of both runs' times.
        told_apart: whether the difference above idle lies beyond the interval.
    """

    unit: str
    base_above_idle_j: float
    other_above_idle_j: float
    half_j: float
    base_equal_wall_j: float
    other_equal_wall_j: float
    told_apart: bool

    @property
    def change_j(self) -> float:
        """Other minus base, above idle."""
        return self.other_above_idle_j - self.base_above_idle_j


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs, or two traces, compared.

    Attributes:
        metrics: in the order of `METRICS`; empty when a side has no run record.
        metrics_absent, layers_absent: why that part is missing; empty when it is there.
        cautions: what limits every conclusion here, in words.
        energy: of units that both runs replayed; empty where either replayed none.
    """

    base: str
    other: str
    differences: tuple[Difference, ...]
    metrics: tuple[MetricChange, ...]
    layers: LayerComparison | None
    metrics_absent: str = ""
    layers_absent: str = ""
    cautions: tuple[str, ...] = ()
    energy: tuple[EnergyChange, ...] = ()

    def metric(self, name: Metric) -> MetricChange | None:
        """The headline number of this name; None when there is none."""
        return next((item for item in self.metrics if item.metric == name), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """One `--fail-on` expression: it is met when the metric's change crosses `value`.

    `value` is a fraction of the base when `relative`, else in the metric's own unit.
    """

    text: str
    metric: Metric
    operator: Operator
    value: float
    relative: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one condition.

    Attributes:
        crossed: whether a difference that is shown crosses the limit.
        judged: False when a side lacks the metric.
    """

    condition: Condition
    crossed: bool
    judged: bool
    sentence: str
