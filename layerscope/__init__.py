"""layerscope: where the time, the FLOPs, the bytes and the joules of a model go, layer by layer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Run", "Sweep", "__version__", "capture", "count_flops", "diff", "open_run", "watch_compile",
]  # fmt: skip

if TYPE_CHECKING:
    from layerscope.measure.flops.by_module import count_flops
    from layerscope.run.capture import capture, watch_compile
    from layerscope.runs.diff import diff
    from layerscope.runs.run import Run, open_run
    from layerscope.runs.sweep import Sweep

# Lazily: reading a saved run must not need torch.
_HOMES = {
    "Run": "layerscope.runs.run",
    "Sweep": "layerscope.runs.sweep",
    "capture": "layerscope.run.capture",
    "count_flops": "layerscope.measure.flops.by_module",
    "diff": "layerscope.runs.diff",
    "open_run": "layerscope.runs.run",
    "watch_compile": "layerscope.run.capture",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
