"""Dense rates that makers state for their GPUs: a device name in, a `Datasheet` or None out.

Sources: NVIDIA's H200, H100 and A100 datasheets, figures without sparsity; fp32 is the rate of
the ordinary cores. A name that is not listed exactly has none: a PCIe card is not an SXM module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Datasheet:
    """FLOP/s by dtype ("float16", "bfloat16", "tf32", "float32") and bytes/s of device memory."""

    flops_per_s: Mapping[str, float]
    bytes_per_s: float


def _rates(half: float, tf32: float, fp32: float) -> dict[str, float]:
    """TFLOP/s to FLOP/s by dtype."""
    tera = {"float16": half, "bfloat16": half, "tf32": tf32, "float32": fp32}
    return {dtype: rate * 1e12 for dtype, rate in tera.items()}


_HOPPER = _rates(989, 494, 67)
_AMPERE = _rates(312, 156, 19.5)
_BY_NAME = {
    "NVIDIA H200": Datasheet(_HOPPER, 4.8e12),
    "NVIDIA H100 80GB HBM3": Datasheet(_HOPPER, 3.35e12),
    "NVIDIA A100-SXM4-80GB": Datasheet(_AMPERE, 2.039e12),
    "NVIDIA A100-SXM4-40GB": Datasheet(_AMPERE, 1.555e12),
}


def datasheet_of(device: str) -> Datasheet | None:
    """What the maker states for this device, or None when it is not known here."""
    return _BY_NAME.get(device)
