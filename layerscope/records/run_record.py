"""`RunRecord` (`run.json`): what ran, where, on what, and the raw samples of every pass.

Statistics are derived from it, never stored alone. `save` and `load` are the only way in and out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from layerscope.core.errors import DataError
from layerscope.core.files import RUN_FILE, parse_json, write_json
from layerscope.core.folder_file import read_json_bytes
from layerscope.core.roles import Role
from layerscope.core.run_config import RunConfig
from layerscope.records.energy_record import EnergyRecord
from layerscope.records.optimization import OptimizationRecord
from layerscope.records.pass_time import PassTime
from layerscope.records.program_energy import ProgramEnergy
from layerscope.records.quality import Quality
from layerscope.records.work import Ceilings

# History of the format:
# 1 (2026-11-24): first form.
# 2 (2026-11-28): of a capture, which has no configuration and no data. Other runs are still written as
#   1, which older versions read.
SCHEMA_VERSION = 2
_SCHEMA_OF_PROFILE = 1
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
    # of all parameters it holds, in their order: "2048x5120+2048"; "" without any; None in records of
    # versions that did not say
    shapes: str | None = None

    @property
    def alike(self) -> str:
        """What is equal for modules with equal parameter shapes, as far as the record says."""
        return f"{self.params}" if self.shapes is None else self.shapes


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """The model that ran."""

    name: str
    source: str  # "hub", "folder", "architecture", "bundled"; "program" of a capture
    cls: str
    weights: str  # one sentence: pretrained, random with its seed, bundled and trained or not
    trained: bool | None  # whether predictions mean anything; None where nobody knows
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
    """The profiled `generate()`: one full batch, compared with the same batch unprofiled.

    Of a capture it is the block, whose batches and samples nobody counted.
    """

    batch: int | None
    size: int | None
    decoder_steps: int | None  # counted outside the trace, see `Generated`; None where nobody did
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
class ProgramRecord:
    """The program that a traced call belongs to, as `layerscope run` saw it from outside.

    Attributes:
        name: of the program, without its arguments, which may hold secrets.
        call: what was called: `generate()` or the model itself.
        first_call: the first that was traced, counted from 1.
        calls: how many the window holds.
        trains: the window reaches from the call to the next one, backward and optimizer included.
        shapes: of the tensors that the first call was given, by name or place.
        traced_s: what the window took.
        untraced_s: what each other call of the same model took, in order; on a GPU only those of
            `generate()`, which returns when the device is done.
        energy: of calls like the traced one; None in older records.
    """

    name: str
    call: str
    first_call: int
    calls: int
    trains: bool
    shapes: dict[str, tuple[int, ...]]
    traced_s: float
    untraced_s: tuple[float, ...]
    energy: ProgramEnergy | None = None


@dataclass(frozen=True, kw_only=True)
class CaptureRecord:
    """What stands in a capture's record in place of a configuration: what was seen of the block.

    Attributes:
        device: "cuda" where the model held a CUDA tensor, else "cpu".
        fp32_matmul: "high" where torch was set to compute fp32 products in TF32 or less.
        absent: what a capture does not know -> why.
        eager_heavy: (operator, layer, calls) of the same calls run eagerly, beside compiled code; None
            where they were not given.
        program: of a call that `layerscope run` had traced; None of a block in the program itself.
    """

    device: Literal["cuda", "cpu"]
    fp32_matmul: Literal["highest", "high"]
    absent: dict[str, str]
    eager_heavy: tuple[tuple[str, str, int], ...] | None = None
    program: ProgramRecord | None = None


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything about one run that is not a table. See the fields' types for the parts.

    A run of `layerscope profile` has `config` and `workload`, a capture has `captured` instead.
    """

    schema_version: int = _SCHEMA_OF_PROFILE
    name: str
    created_utc: str
    choices: tuple[str, ...]  # what layerscope chose for the user, and why
    config: RunConfig | None
    environment: Environment
    model: ModelRecord
    workload: WorkloadRecord | None
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
    captured: CaptureRecord | None = None  # of a block of someone's own program
    # How the command spent its own time; empty in records of 0.1.0 and of captures.
    command: tuple[PassTime, ...] = ()
    hashes: dict[str, str] = field(default_factory=dict)  # file name -> SHA-256, see `records.seal`

    def __post_init__(self) -> None:
        if (self.config is None) == (self.captured is None):
            raise ValueError("a record has either a configuration or what was captured")

    @property
    def how(self) -> RunConfig | CaptureRecord:
        """The configuration, or what stands in a capture's place of it: device, fp32_matmul."""
        found = self.config or self.captured
        assert found is not None  # see `__post_init__`
        return found

    @property
    def profiled(self) -> RunConfig:
        """The configuration, where only a run of `layerscope profile` will do.

        Raises:
            DataError: it is a capture's record.
        """
        if self.config is None:
            raise DataError(f"{self.name}: a capture, which has no configuration.")
        return self.config

    @property
    def batch_size(self) -> int | None:
        """Samples of a full batch; None where nobody counted them."""
        return self.config.batch_size if self.config is not None else None

    @property
    def batches(self) -> tuple[BatchRecord, ...]:
        """The batches of the data; none of a capture, which does not know them."""
        return self.workload.batches if self.workload is not None else ()

    @property
    def seed(self) -> int:
        """Of the random numbers that intervals are drawn with."""
        return self.config.seed if self.config is not None else 0

    @property
    def absent(self) -> tuple[tuple[str, str], ...]:
        """What the record does not hold because nobody measured it, and why."""
        return tuple(self.captured.absent.items()) if self.captured is not None else ()

    @property
    def program_energy(self) -> ProgramEnergy | None:
        """What was read between the calls of somebody's program; None of any other run."""
        program = self.captured.program if self.captured is not None else None
        return program.energy if program is not None else None

    @property
    def planned_config(self) -> RunConfig:
        """The configuration as it was before the model was loaded.

        Raises:
            DataError: it is a capture's record.
        """
        return replace(self.profiled, **cast(dict[str, Any], self.planned))

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
        raw = read_json_bytes(path)
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
