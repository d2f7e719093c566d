"""layerscope: where the time, the FLOPs, the bytes and the joules of a model go, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "capture", "watch_compile"]

if TYPE_CHECKING:
    from layerscope.run.capture import capture, watch_compile


def __getattr__(name: str) -> Any:
    # Lazily: reading a saved run must not need torch.
    if name in ("capture", "watch_compile"):
        from layerscope.run import capture as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
