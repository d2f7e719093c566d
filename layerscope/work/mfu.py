"""Counted work, the maker's rates and a latency in; model FLOPs utilization out.

MFU = FLOPs / (peak x wall time), as Chowdhery et al. 2022 (PaLM, appendix B) define it: the peak is the
maker's dense rate, the time is all that passed. FLOPs of several dtypes are held against their own peaks
and added up. What is divided by busy time or by a measured rate is another number, of another name.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from layerscope.core.units import NS_PER_S
from layerscope.core.words import listed
from layerscope.records.work import Ceilings, CountedWork


@dataclass(frozen=True, kw_only=True, slots=True)
class Mfu:
    """Model FLOPs utilization; `share` is None where it cannot be told, `reason` says why.

    Attributes:
        dtype: of the operands whose peaks it is held against, in words.
    """

    share: float | None
    dtype: str = ""
    reason: str = ""


def mfu_of(
    work: CountedWork,
    ceilings: Ceilings,
    wall_ns: float | None,
    fp32_matmul: Literal["highest", "high"] = "highest",
) -> Mfu:
    """MFU of one batch.

    Args:
        wall_ns: its latency; None where none was measured.
        fp32_matmul: "high" holds fp32 work against the maker's TF32 rate, where there is one.
    """
    if work.missing:
        return Mfu(share=None, reason=work.missing_text)
    if not wall_ns:
        return Mfu(share=None, reason="no latency of a full batch was measured")
    flops: Counter[str] = Counter()
    for row in work.rows:
        flops.update({dtype: count for dtype, count in row.flops_by_dtype.items() if count})
    peaks = {dtype: ceilings.stated(dtype) for dtype in flops}
    if fp32_matmul == "high" and "float32" in peaks:
        peaks["float32"] = ceilings.stated("tf32") or peaks["float32"]
    unknown = sorted(dtype for dtype, peak in peaks.items() if not peak)
    if unknown or not flops:
        of = f" of {listed(unknown)}" if unknown else ""
        return Mfu(share=None, reason=f"the maker's rate{of} for {ceilings.device} is not known")
    needed_s = sum(count / (peaks[dtype] or 1.0) for dtype, count in flops.items())
    return Mfu(share=needed_s / (wall_ns / NS_PER_S), dtype=listed(sorted(flops)))
