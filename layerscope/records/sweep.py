"""`SweepConfig`, the cells it stands for, and `SweepRow`: what one cell of a sweep came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from layerscope.core.run_config import RunConfig
from layerscope.records.interval import Interval
from layerscope.records.run_record import Environment
from layerscope.records.sweep_places import CellPlace

Setting = str | int | float | bool | None
CellStatus = Literal["done", "accounting failed", "failed", "not run"]


@dataclass(frozen=True, kw_only=True)
class Override:
    """Fields set in the cells that match: `when` names values of fields, all of which must hold."""

    when: dict[str, Setting]
    set: dict[str, Setting]


@dataclass(frozen=True, kw_only=True)
class ReferenceLink:
    """Which published table a sweep reproduces.

    Attributes:
        table: name in `reference_tables.json`: "batch_size", "image_size", …
        dataset: the table's data set that this sweep stands for, where the sweep's own data set
            does not say it (`synthetic-random`); None: it follows from the cell's data set.
    """

    table: str
    dataset: str | None = None


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """A sweep as the file says it. Every field name in it is one of `RunConfig`'s.

    Attributes:
        base: fields with one value for all cells.
        grid: field -> values; cells are the product of these.
        zip: field -> values, all lists of one length, which move together.
        exclude: cells that match any of these are left out.
        override: applied in order, to what base, grid and zip gave.
    """

    name: str
    base: dict[str, Setting] = field(default_factory=dict)
    grid: dict[str, tuple[Setting, ...]] = field(default_factory=dict)
    zip: dict[str, tuple[Setting, ...]] = field(default_factory=dict)
    exclude: tuple[dict[str, Setting], ...] = ()
    override: tuple[Override, ...] = ()
    reference: ReferenceLink | None = None

    @property
    def axes(self) -> tuple[str, ...]:
        """Fields that differ between cells by design, in the file's order."""
        return (*self.grid, *self.zip)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a sweep.

    Attributes:
        id: hash of the resolved configuration; the same run has the same id in every sweep.
        settings: axis -> value, what tells this cell from its neighbours.
        choices: what layerscope chose for the user, in words.
        given: the fields of the configuration that the user set, the axes among them.
    """

    id: str
    settings: dict[str, Setting]
    config: RunConfig
    choices: tuple[str, ...] = ()
    given: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CellFailure:
    """Why a cell has no run: one line, its exit code, and when. Kept until the cell is done."""

    id: str
    reason: str
    exit_code: int
    when_utc: str
    settings: dict[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its interval; None is not measured, and `reason` says why."""

    value: float | None = None
    interval: Interval | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """One cell: its choices and its numbers. None: not measured.

    Attributes:
        status: "accounting failed" has numbers, but its account by layer does not add up.
        reason: why it is not done, or what does not add up.
        parameters: of the model that ran.
        pixels: height = width of the pixel_values that really reached the model.
        image_tokens: that an image became, the most of the first batch; None in older records.
        text_length: padded text tokens of the first full batch, without query tokens.
        decoder_steps: of the first full batch.
        wer: corpus WER, first reference.
        latency_s: of a full batch, median.
        energy_j: joules per sample.
        energy_reference_j: mean over batches of energy / batch size, the reference's form.
        flops: executed, of one full batch.
        flops_reference: of the last batch of the data, which the reference counted.
        group_ns: taxonomy group -> self time in the traced batch; device time, on a CPU the time
            inside operators.
        memory_peak_bytes, kv_cache_bytes: of one full batch, from the count pass.
        tokens_equal: share of the compared samples whose tokens are those of an eager run; None for
            an eager run.
        compile_s: host time spent compiling.
        fell_back: what did not run as its mode asked.
        warnings: the run's own.
        environment: of the machine and process that measured it.
        place: where in a cluster, for a cell that ran on one.
    """

    cell: str
    settings: dict[str, Setting]
    config: RunConfig
    status: CellStatus
    reason: str | None = None
    folder: str | None = None
    device_name: str | None = None
    trained: bool | None = None
    parameters: int | None = None
    pixels: int | None = None
    image_tokens: int | None = None
    text_length: int | None = None
    decoder_steps: float | None = None
    latency_runs: int | None = None
    latency_unstable: str | None = None
    wer: Estimate = field(default_factory=Estimate)
    latency_s: Estimate = field(default_factory=Estimate)
    first_token_s: Estimate = field(default_factory=Estimate)
    energy_j: Estimate = field(default_factory=Estimate)
    energy_reference_j: Estimate = field(default_factory=Estimate)
    energy_source: str | None = None
    flops: int | None = None
    flops_reference: Estimate = field(default_factory=Estimate)
    device_sum_us: float | None = None
    memory_peak_bytes: int | None = None
    kv_cache_bytes: int | None = None
    group_ns: dict[str, int] = field(default_factory=dict)
    tokens_equal: float | None = None
    compile_s: float | None = None
    fell_back: str | None = None
    warnings: tuple[str, ...] = ()
    environment: Environment | None = None
    place: CellPlace | None = None

    @property
    def measured(self) -> bool:
        """Whether the cell has numbers."""
        return self.status in ("done", "accounting failed")


@dataclass(frozen=True, kw_only=True)
class SweepFile:
    """`sweep.json`: the plan a sweep folder was made by, so that a changed one is noticed."""

    schema_version: int = 1
    layerscope: str
    config: SweepConfig
    cells: tuple[Cell, ...]


def plain(config: RunConfig) -> dict[str, Any]:
    """A run's configuration as field -> value."""
    return {name: getattr(config, name) for name in RunConfig.__dataclass_fields__}
