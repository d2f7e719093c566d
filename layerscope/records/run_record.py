"""`RunRecord` (`run.json`): what ran, where, on what, and the raw samples of every pass.

Statistics are derived from it, never stored alone. `save` and `load` are the only way in and out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from layerscope.core.errors import DataError
from layerscope.core.files import RUN_FILE, parse_json, write_json
from layerscope.core.roles import Role
from layerscope.core.run_config import RunConfig
from layerscope.records.energy_record import EnergyRecord
from layerscope.records.optimization import OptimizationRecord
from layerscope.records.quality import Quality
from layerscope.records.work import Ceilings

# History of the format:
# 1 (2026-11-24): first form.
SCHEMA_VERSION = 1
_WHAT = "a layerscope run record"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The machine and the software. Never the environment's variables."""

    layerscope: str
    python: str
    platform: str
    cpu_model: str
    cpu_count: int
    memory_bytes: int | None
    torch: str | None
    torch_threads: int | None
    packages: dict[str, str]
    cuda: str | None = None
    driver: str | None = None
    gpu_name: str | None = None
    gpu_count: int = 0
    gpu_memory_bytes: int | None = None
    gpu_sm_clock_mhz: int | None = None
    gpu_memory_clock_mhz: int | None = None
    gpu_temperature_c: int | None = None
    gpu_power_limit_w: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModuleRecord:
    """One module of the model, named as `named_modules()` names it; the root's FQN is ""."""

    fqn: str
    cls: str
    group: str
    params: int  # held by the module itself, a tied parameter counted at its first name
    dtype: str | None  # of those parameters: "float16", "float16+float32", or None without any


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """The model that ran."""

    name: str
    source: str  # "hub", "folder", "architecture", "bundled"
    cls: str
    weights: str  # one sentence: pretrained, random with its seed, bundled and trained or not
    trained: bool  # whether predictions mean anything
    params: int
    param_bytes: int
    dtypes: dict[str, int]  # dtype -> parameters
    attention: dict[str, str]  # part -> attention implementation in use
    modules: tuple[ModuleRecord, ...]
    revision: str | None = None
    load_s: float | None = None  # from the call to the model on its device, a download included
    host_peak_bytes: int | None = None  # the process's largest resident memory until then
    roles: dict[str, Role] = field(default_factory=dict)  # FQN -> what the module is for


@dataclass(frozen=True, kw_only=True)
class BatchRecord:
    """One batch as it really reached the model. Lengths are tokens per sample, in sample order."""

    index: int
    sample_ids: tuple[str, ...]
    pixel_values_shape: tuple[int, ...]
    text_lengths: tuple[int, ...]  # without padding and without the query tokens
    padded_text_length: int
    qformer_lengths: tuple[int, ...]  # empty for a model without a Q-Former that reads text
    padded_qformer_length: int
    image_tokens: tuple[int, ...] = ()  # that each sample's image became; empty in older records
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of every input, by its name


@dataclass(frozen=True, kw_only=True)
class WorkloadRecord:
    """The data that ran."""

    dataset: str
    synthetic: bool
    source: str  # where the samples came from, in words
    batches: tuple[BatchRecord, ...]
    prompt: str | None = None  # the template
    revision: str | None = None  # commit on the hub
    skipped: tuple[str, ...] = ()  # "<sample id>: <reason>"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One sample's answer."""

    sample_id: str
    batch: int
    prompt: str
    prediction: str
    references: tuple[str, ...]
    new_tokens: int
    letter_reference: str | None = None  # lettered questions: both forms are scored
    text_reference: str | None = None


@dataclass(frozen=True, kw_only=True)
class LatencySample:
    """One timed `generate()`, device synchronised at its two edges only."""

    batch: int
    size: int
    warmup: bool
    full: bool  # False for the partial last batch, which no latency statistic uses
    generate_ns: int
    preprocess_ns: int | None  # None for a repeat: its inputs were ready
    copy_ns: int
    decoder_steps: int
    new_tokens: tuple[int, ...]
    repeat: int = 0  # 0: the batch's first measured run


@dataclass(frozen=True, kw_only=True)
class TracePass:
    """The profiled `generate()`: one full batch, compared with the same batch unprofiled."""

    batch: int
    size: int
    decoder_steps: int  # counted outside the trace, see `Generated`
    new_tokens: tuple[int, ...]
    profiled_ns: int
    unprofiled_ns: int | None
    root: str  # "generate" or "forward"


@dataclass(frozen=True, kw_only=True)
class MemoryRecord:
    """Memory of one full batch, from the count pass. Peaks by layer stand in the layer table."""

    weights_bytes: int
    kv_cache_bytes: int | None  # after the last step
    peak_bytes: int | None
    peak_by_phase_bytes: dict[str, int]
    method: str


@dataclass(frozen=True, kw_only=True)
class AccountRecord:
    """Totals of the account and whether it added up. Integer nanoseconds unless the name says µs."""

    status: Literal["ok", "failed"]
    events: int
    device_sum_us: float | None
    device_active_us: float | None
    window_span_us: float | None
    host_window_us: float | None
    device_difference_ns: int | None
    host_difference_ns: int | None
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # rules that do not apply here, in words


@dataclass(frozen=True, kw_only=True)
class Reported:
    """One of the four headline numbers, with its definition; absent values carry their reason."""

    value: float | None
    unit: str
    definition: str
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """The reference's four numbers."""

    wer_value: Reported
    latency: Reported
    energy: Reported
    flops: Reported


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything about one run that is not a table. See the fields' types for the parts."""

    schema_version: int = SCHEMA_VERSION
    name: str
    created_utc: str
    choices: tuple[str, ...]  # what layerscope chose for the user, and why
    config: RunConfig
    environment: Environment
    model: ModelRecord
    workload: WorkloadRecord
    latency: tuple[LatencySample, ...] = ()
    latency_stopped: str | None = None  # why no further repeat was run
    first_token: tuple[LatencySample, ...] = ()  # generate() of one new token: time to first token
    first_call_us: dict[str, float] = field(
        default_factory=dict
    )  # host time of convolutions' first call
    energy: EnergyRecord | None = None
    predictions: tuple[Prediction, ...] = ()
    quality: Quality | None = None
    quality_by_answer_form: dict[str, Quality] = field(default_factory=dict)
    trace: TracePass | None = None
    account: AccountRecord | None = None
    ceilings: Ceilings | None = None
    memory: MemoryRecord | None = None
    optimization: OptimizationRecord | None = None  # None: eager
    report: Report
    files: dict[str, str] = field(default_factory=dict)  # role -> file name in the run folder
    warnings: tuple[str, ...] = ()
    # What the plan had in those fields of `config` that the loaded model decided: its image size.
    planned: dict[str, int | str] = field(default_factory=dict)

    @property
    def planned_config(self) -> RunConfig:
        """The configuration as it was before the model was loaded."""
        return replace(self.config, **cast(dict[str, Any], self.planned))

    @property
    def compiled_parts(self) -> tuple[str, ...]:
        """FQNs of the parts that ran compiled; empty for an eager run."""
        return () if self.optimization is None else self.optimization.compiled


def save(record: RunRecord, path: Path) -> None:
    """Write `run.json`, indented, so that a person can read it and a diff stays small."""
    write_json(path, record)


def load(path: Path) -> RunRecord:
    """Read `run.json` (or the folder that holds one).

    Raises:
        DataError: the file is missing, is not JSON, or is of a newer schema than this version reads.
    """
    if path.is_dir():
        path = path / RUN_FILE
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read the run record ({error.strerror}).") from None
    version = parse_json(raw, path, _Version, _WHAT).schema_version
    if version > SCHEMA_VERSION:
        raise DataError(
            f"{path}: written as schema {version}, this layerscope reads up to {SCHEMA_VERSION}; "
            "update layerscope."
        )
    return parse_json(raw, path, RunRecord, _WHAT)


@dataclass(frozen=True)
class _Version:
    schema_version: int
