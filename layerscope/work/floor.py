"""The least time a run could take on this device: the parts' work and the rates in, a `Floor` out.

Floor = Σ over parts of max(bytes the part must move / copy rate, FLOPs / matmul rate of their
dtype). A part is the vision tower, the Q-Former, the projection, the encoder, and of each decoder
step the decoder and the lm_head. Within a part compute and memory may overlap perfectly, between
parts not. The additive form lets them overlap nowhere. Work outside the parts counts 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from layerscope.core.units import ms_grouped, ms_two, two_digits
from layerscope.records.work import PartWork
from layerscope.work.rates import Rates


@dataclass(frozen=True, kw_only=True)
class PartFloor:
    """One call of a part."""

    part: str
    phase: str
    step: int
    compute_ns: float
    memory_ns: float

    @property
    def floor_ns(self) -> float:
        """The longer of the two."""
        return max(self.compute_ns, self.memory_ns)

    @property
    def additive_ns(self) -> float:
        """One after the other."""
        return self.compute_ns + self.memory_ns


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The floor of a run. `floor_ns` and `additive_ns` are None when `reason` says why."""

    parts: tuple[PartFloor, ...]
    floor_ns: float | None
    additive_ns: float | None
    reason: str = ""

    def held_against(
        self, measured_ns: float | None, parts: Sequence[PartWork], cache_bytes: int | None
    ) -> Floor:
        """This floor; without numbers, and with the reason, where a batch took less than it.

        Args:
            measured_ns: the fastest batch; None where none was timed.
            parts: as counted, for what a cache may hold of them.
            cache_bytes: of the last cache before memory; None: not known.
        """
        if self.floor_ns is None or measured_ns is None or measured_ns >= self.floor_ns:
            return self
        reason = (
            f"an error of ours: {ms_two(self.floor_ns)} would exceed the {ms_grouped(measured_ns)} ms "
            f"that a batch took; {_why_above(self.parts, parts, cache_bytes)}"
        )
        return replace(self, parts=(), floor_ns=None, additive_ns=None, reason=reason)

    def by_phase(self) -> dict[str, float]:
        """Floor in nanoseconds of each phase, in the order the phases ran."""
        sums: dict[str, float] = {}
        for part in self.parts:
            sums[part.phase] = sums.get(part.phase, 0.0) + part.floor_ns
        return sums

    def times_above(self, measured_ns: float) -> float | None:
        """How many times the floor a measured time is; None without a floor."""
        return measured_ns / self.floor_ns if self.floor_ns else None


def floor_of(parts: Sequence[PartWork], rates: Rates) -> Floor:
    """The floor of a run from what its parts compute and must read.

    Args:
        parts: as counted; those named "other" are left out.

    Returns:
        The floor, or one without numbers when a dtype that computed has no measured rate or an
        operator ran whose products nothing counts.
    """
    counted = [part for part in parts if part.part != "other"]
    unknown = sorted({name for part in counted for name in part.missing})
    if unknown:
        reason = f"products are missing: no FLOP formula for {', '.join(unknown)}"
        return Floor(parts=(), floor_ns=None, additive_ns=None, reason=reason)
    missing = sorted({d for part in counted for d in rates.missing(part.flops_by_dtype)})
    if missing:
        reason = f"no matmul rate was measured for {', '.join(missing)}"
        return Floor(parts=(), floor_ns=None, additive_ns=None, reason=reason)
    if not counted:
        return Floor(parts=(), floor_ns=None, additive_ns=None, reason="no work was counted")
    floors = tuple(
        PartFloor(
            part=part.part,
            phase=part.phase,
            step=part.step,
            compute_ns=rates.compute_ns(part.flops_by_dtype) or 0.0,
            memory_ns=rates.memory_ns(part.floor_bytes),
        )
        for part in counted
    )
    return Floor(
        parts=floors,
        floor_ns=sum(part.floor_ns for part in floors),
        additive_ns=sum(part.additive_ns for part in floors),
    )


def _why_above(
    floors: Sequence[PartFloor], parts: Sequence[PartWork], cache_bytes: int | None
) -> str:
    by_memory = sum(f.floor_ns for f in floors if f.memory_ns > f.compute_ns)
    largest = max((part.floor_bytes for part in parts if part.part != "other"), default=0)
    if cache_bytes and largest <= cache_bytes and by_memory > sum(f.floor_ns for f in floors) / 2:
        return (
            f"no part reads more than {two_digits(largest / 1e6)} MB, which the last cache of "
            f"{two_digits(cache_bytes / 1e6)} MB holds, faster than the copy rate that the floor assumes"
        )
    return "a ceiling is too low: `layerscope ceilings --remeasure`"


def as_dtype(parts: Sequence[PartWork], dtype: str, itemsize: int) -> tuple[PartWork, ...]:
    """The same parts as if every weight and every FLOP were of one dtype.

    A named variant, e.g. uniform fp16 for a model that keeps some weights in fp32. Inputs and the
    cache keep their bytes; 8-byte integers (ids, positions) among the weights keep theirs too.
    """
    sizes = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
    changed = []
    for part in parts:
        weights: dict[str, int] = {}
        for name, size in part.weight_bytes_by_dtype.items():
            target = dtype if name in sizes else name
            scaled = size * itemsize // sizes[name] if name in sizes else size
            weights[target] = weights.get(target, 0) + scaled
        changed.append(
            PartWork(
                part=part.part,
                phase=part.phase,
                step=part.step,
                flops=part.flops,
                flops_by_dtype={dtype: part.flops} if part.flops else {},
                weight_bytes_by_dtype=weights,
                input_bytes=part.input_bytes,
                missing=part.missing,
            )
        )
    return tuple(changed)
