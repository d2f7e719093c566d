"""torch's view of CUDA in; whether there is a device, and if not, why, out."""

from __future__ import annotations

from typing import Any

from layerscope.core.words import one_line


def why_no_cuda(cuda: Any, version: str, build: str | None) -> str:
    """Say why torch sees no CUDA device, on one line and as far as possible in torch's own words.

    Args:
        cuda: `torch.cuda`, which sees none.
        version: torch's version.
        build: the CUDA version torch was built for, None for a CPU build.
    """
    if build is None:
        return f"torch {version} is built without CUDA"
    said = f"torch {version} (CUDA {build}) sees no device"
    try:
        cuda.init()  # raises with the reason that `is_available()` keeps to itself
    except (RuntimeError, AssertionError) as error:
        words = one_line(error)
        return f"{said} ({words.split('. ')[0].rstrip('.')})" if words else said
    return said
