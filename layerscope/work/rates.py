"""Measured ceilings as the rates a run is held against: `Ceilings` in, nanoseconds for work out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from layerscope.core.units import NS_PER_S
from layerscope.records.work import Ceilings


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What one device reached.

    Attributes:
        flops_per_s: dtype of the operands -> matmul rate.
        bytes_per_s: copy rate, bytes read plus bytes written.
    """

    flops_per_s: Mapping[str, float]
    bytes_per_s: float

    def compute_ns(self, flops_by_dtype: Mapping[str, int]) -> float | None:
        """Time of these FLOPs at the matmul rate of each dtype; None if one has no rate."""
        if self.missing(flops_by_dtype):
            return None
        return sum(
            flops / self.flops_per_s[dtype] * NS_PER_S
            for dtype, flops in flops_by_dtype.items()
            if flops
        )

    def memory_ns(self, bytes_moved: int) -> float:
        """Time of these bytes at the copy rate."""
        return bytes_moved / self.bytes_per_s * NS_PER_S

    def missing(self, flops_by_dtype: Mapping[str, int]) -> tuple[str, ...]:
        """The dtypes that have FLOPs and no measured rate."""
        return tuple(
            d for d, flops in flops_by_dtype.items() if flops and d not in self.flops_per_s
        )


def rates_of(ceilings: Ceilings, fp32_matmul: Literal["highest", "high"]) -> Rates:
    """The measured rates under one setting of fp32 matmuls.

    Args:
        fp32_matmul: "high" lets fp32 matmuls run as TF32 where the device has it, so that fp32
            work is held against that rate; "highest" keeps fp32.
    """
    rates = {d: rate for d, rate in ceilings.matmul_flops_per_s.items() if d != "tf32"}
    if fp32_matmul == "high" and "tf32" in ceilings.matmul_flops_per_s:
        rates["float32"] = ceilings.matmul_flops_per_s["tf32"]
    return Rates(flops_per_s=rates, bytes_per_s=ceilings.copy_bytes_per_s)
