"""Counted work and the rates a machine reaches: FLOPs, bytes, memory and ceilings as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

FLOP_CONVENTION = "2 FLOP per multiply-accumulate"
BYTES_RULE = (
    "operator traffic: every distinct element an operator reads plus every element it writes; "
    "views, shape changes and bare allocations move 0 bytes; an operator that updates its input "
    "in place reads it once and writes it once; lookups and scatters move the places they touch"
)
FLOOR_RULE = (
    "floor bytes of one call of a part: each weight once (the union of its slices), and once each "
    "tensor that existed before the call (inputs, KV cache); results made inside the call are not "
    "counted"
)

# History of the measurement:
# 0: best median of a few square shapes. 2 (2026-11-27): best of many short ones, load looked at.
CEILINGS_FORM = 2
COPY = "copy"


@dataclass(frozen=True, kw_only=True)
class WorkRow:
    """The work of one (layer, phase), without the layers below it.

    Attributes:
        layer: FQN of the module object that was called; the root is "generate" or "forward".
        flops: None where an operator in `missing` ran: its products are in no sum.
        flops_by_dtype: the FLOPs that a formula counted, by the dtype of the operands, e.g.
            {"float16": ...}.
        missing: operators that may hold products and have no formula.
        bytes_self: operator traffic (`BYTES_RULE`).
        operators: operators executed, views included.
        heavy: heavy operators among them (`records.heavy`), by kind.
        memory_peak_bytes: highest memory in use while the layer, or one below it, ran. Of several rows
            only the largest means anything: peaks are never added up.
        allocated_bytes, freed_bytes: of tensors made, and of those that ended, while the layer itself
            ran, over its calls; None in files of before.
        retained_bytes: of what its calls made, what was left when each ended.
        largest_bytes: the largest tensor that it made.
        unfused: why its attention took no fused kernel, in torch's own words; empty where one took it,
            and on a CPU, where torch is not asked.
    """

    layer: str
    phase: str
    calls: int
    flops: int | None
    bytes_self: int
    operators: int
    flops_by_dtype: dict[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    memory_peak_bytes: int | None = None
    heavy: dict[str, int] = field(default_factory=dict)
    allocated_bytes: int | None = None
    retained_bytes: int | None = None
    largest_bytes: int | None = None
    freed_bytes: int | None = None
    unfused: tuple[str, ...] = ()

    @property
    def counted_flops(self) -> int:
        """FLOPs that a formula counted, all there are unless `missing` names operators."""
        return sum(self.flops_by_dtype.values())


@dataclass(frozen=True, kw_only=True)
class PartWork:
    """What one call of a part of the model computes and must at least read (`FLOOR_RULE`).

    Attributes:
        part: one of `core.roles.PARTS`, or "forward" for a model whose parts are not known.
        step: decoder step, from 1; 0 for a part that does not belong to a step. Of the part
            "forward": the call of the whole model, from 1.
        flops: None where an operator in `missing` ran.
        weight_bytes_by_dtype: parameters and buffers read, each once, in bytes.
        input_bytes: other tensors read that existed before the part's first operator.
    """

    part: str
    phase: str
    step: int
    flops: int | None
    flops_by_dtype: dict[str, int]
    weight_bytes_by_dtype: dict[str, int]
    input_bytes: int
    missing: tuple[str, ...] = ()

    @property
    def weight_bytes(self) -> int:
        """Bytes of the parameters and buffers read, each once."""
        return sum(self.weight_bytes_by_dtype.values())

    @property
    def floor_bytes(self) -> int:
        """Bytes this call has to read at least."""
        return self.weight_bytes + self.input_bytes


@dataclass(frozen=True, kw_only=True)
class OperatorCount:
    """One operator whose FLOPs were not counted: how often it ran and what it moved."""

    operator: str
    calls: int
    bytes_moved: int


def missing_text(missing: Sequence[OperatorCount]) -> str:
    """Why FLOPs are absent: the operators without a formula, in a sentence; "" where none ran."""
    if not missing:
        return ""
    named = ", ".join(f"{op.operator} ({op.calls:,} {_calls(op.calls)})" for op in missing)
    return f"products are missing: no FLOP formula for {named}"


def _calls(number: int) -> str:
    return "call" if number == 1 else "calls"


@dataclass(frozen=True, kw_only=True)
class CountedWork:
    """The executed work of one run, by (layer, phase) and by part.

    Attributes:
        flops: the counter's own total; None where operators in `missing` ran.
        counted_flops: the counter's sum of what formulas counted, kept apart from the rows so that
            they can be checked. None in files of before `missing` was known: there it is `flops`.
        flops_as_torch: what torch's own counter makes of the same operators.
        missing: operators that may hold products and have no formula: the FLOPs of the layers that
            ran them, and all sums over those, are not known.
        uncounted: operators that compute but hold no products (norms, softmax, activations).
        moved: operators that only copy, gather or fill.
        views: calls that move nothing: views, shape changes, allocations.
        decoder_steps: calls of the language model; 0 where the model has no such steps.
    """

    root: str
    rows: tuple[WorkRow, ...]
    parts: tuple[PartWork, ...]
    flops: int | None
    bytes_moved: int
    uncounted: tuple[OperatorCount, ...]
    moved: tuple[OperatorCount, ...]
    views: int
    decoder_steps: int
    memory_peak_bytes: int | None
    memory_method: str
    counted_flops: int | None = None
    flops_as_torch: int | None = None
    missing: tuple[OperatorCount, ...] = ()
    flop_convention: str = FLOP_CONVENTION
    bytes_rule: str = BYTES_RULE
    floor_rule: str = FLOOR_RULE

    @property
    def calls(self) -> dict[str, int]:
        """Layer -> its calls in all phases, as hooks counted them; none for one never called."""
        found = Counter[str]()
        for row in self.rows:
            found[row.layer] += row.calls
        return dict(found)

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates: half the FLOPs."""
        return None if self.flops is None else self.flops // 2

    @property
    def missing_text(self) -> str:
        """What is missing from the FLOPs, in a sentence; "" where nothing is."""
        return missing_text(self.missing)

    def of(self, layer: str, phase: str) -> WorkRow | None:
        """The row of this (layer, phase), or None when it did no work."""
        return next((r for r in self.rows if (r.layer, r.phase) == (layer, phase)), None)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One number counted in two ways. `ours` and `theirs` are None when the check could not run.

    Attributes:
        compared: how many single numbers stand behind the two sums (modules, for fvcore).
        unequal: those of them that differ, with both values, in words.
        reason: why the check did not run; empty when it did.
    """

    name: str
    ours: int | None
    theirs: int | None
    compared: int = 1
    unequal: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""

    @property
    def difference(self) -> int | None:
        """Ours minus theirs."""
        if self.ours is None or self.theirs is None:
            return None
        return self.ours - self.theirs

    @property
    def ran(self) -> bool:
        """Whether both sides were counted."""
        return self.difference is not None

    @property
    def failed(self) -> bool:
        """Whether the two sides, or any number behind them, differ."""
        return self.ran and (self.difference != 0 or bool(self.unequal))


@dataclass(frozen=True, kw_only=True)
class Raised:
    """One ceiling that something real ran above, and what it became.

    Attributes:
        rate: "float16", "bfloat16", "tf32", "float32" or "copy".
        before_per_s, after_per_s: FLOP/s, or bytes/s of "copy".
        by: what ran above it, in words.
    """

    rate: str
    before_per_s: float
    after_per_s: float
    by: str


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """The rates one device reached when asked for nothing else, and what its maker states.

    Attributes:
        key: what these were measured under: device, board, power limit, driver, torch, threads.
        matmul_flops_per_s: dtype -> best rate; "float16", "bfloat16", "tf32", "float32".
            A dtype missing here could not be measured; `absent` says why.
        copy_bytes_per_s: device copy, bytes read plus bytes written.
        datasheet_flops_per_s, datasheet_bytes_per_s: the maker's dense rates; None: not known.
        form: how they were measured; `CEILINGS_FORM` for this version's way, 0 for older ones.
        scatter: dtype or "copy" -> how far the median round lies below the best, as a share of it.
        measurements: dtype or "copy" -> single timings behind the best.
        quiet: whether the machine had nothing else to do; None: it could not be told.
        load: what else ran, in words.
        busy_tries: measurements on a busy machine that these are the best of.
        cache_bytes: last cache before memory; None: not known. Bytes that fit need no memory.
        kept: whether they came from an earlier run's file.
        raised: the ceilings that a run's layers beat.
    """

    key: str
    device: str
    measured_utc: str
    matmul_flops_per_s: dict[str, float]
    matmul_shape: dict[str, str]
    copy_bytes_per_s: float
    method: str
    absent: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    datasheet_flops_per_s: dict[str, float] | None = None
    datasheet_bytes_per_s: float | None = None
    form: int = 0
    scatter: dict[str, float] = field(default_factory=dict)
    measurements: dict[str, int] = field(default_factory=dict)
    quiet: bool | None = None
    load: str = ""
    busy_tries: int = 0
    cache_bytes: int | None = None
    kept: bool = False
    raised: tuple[Raised, ...] = ()

    def rates(self) -> dict[str, float]:
        """Every ceiling by name: the dtypes in FLOP/s, "copy" in bytes/s."""
        return {**self.matmul_flops_per_s, COPY: self.copy_bytes_per_s}

    def stated(self, name: str) -> float | None:
        """What the maker states for this ceiling; None: not known."""
        if name == COPY:
            return self.datasheet_bytes_per_s
        return (self.datasheet_flops_per_s or {}).get(name)

    def with_rates(self, rates: Mapping[str, float]) -> Ceilings:
        """The same with other rates; names as in `rates()`, those left out stay."""
        matmul = {**self.matmul_flops_per_s, **rates}
        copy = matmul.pop(COPY, self.copy_bytes_per_s)
        return replace(self, matmul_flops_per_s=matmul, copy_bytes_per_s=copy)
