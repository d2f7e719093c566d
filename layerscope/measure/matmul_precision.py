"""torch's setting of fp32 matmuls, read, or changed for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal


def matmul_precision_now(device: Literal["cuda", "cpu"]) -> Literal["highest", "high"]:
    """What torch is set to for fp32 matmuls on this device, whichever of its settings says so."""
    import torch

    every: Any = torch.backends
    backend = every.cuda.matmul if device == "cuda" else every.mkldnn.matmul
    said = backend.fp32_precision
    if said == "none":  # the backend goes by the setting for all
        said = every.fp32_precision
    return "high" if said in ("tf32", "bf16") else "highest"


@contextmanager
def matmul_precision(precision: Literal["highest", "high"]) -> Iterator[None]:
    """`torch.set_float32_matmul_precision` inside the block; what was set before comes back.

    That setting overwrites those of the single backends (`torch.backends.cuda.matmul.fp32_precision`),
    which are put back, too.
    """
    import torch

    every: Any = torch.backends
    backends = (every.cuda.matmul, every.mkldnn.matmul)
    each = tuple(backend.fp32_precision for backend in backends)
    # torch refuses to tell the setting for all while one backend's disagrees with it; IEEE never does.
    _set(backends, ("ieee", "ieee"))
    before = None
    try:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(precision)
        yield
    finally:
        if before is not None:
            torch.set_float32_matmul_precision(before)
        _set(backends, each)


def _set(backends: tuple[Any, ...], values: tuple[str, ...]) -> None:
    for backend, value in zip(backends, values, strict=True):
        backend.fp32_precision = value
