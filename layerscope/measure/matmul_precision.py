"""torch's setting of fp32 matmuls, changed for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal


@contextmanager
def matmul_precision(precision: Literal["highest", "high"]) -> Iterator[None]:
    """`torch.set_float32_matmul_precision` inside the block; what was set before comes back."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
