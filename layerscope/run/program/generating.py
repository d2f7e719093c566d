"""A running call's frame in, the module whose `generate()` it comes out of, out."""

from __future__ import annotations

from types import FrameType

import torch

from layerscope.run.program.replaced import GENERATE

_MOST_FRAMES = 60


def generating(frame: FrameType | None) -> torch.nn.Module | None:
    """The module in whose method `generate` this frame runs, if any; the outermost of several."""
    found: torch.nn.Module | None = None
    for _ in range(_MOST_FRAMES):
        if frame is None:
            break
        if frame.f_code.co_name == GENERATE:
            owner = frame.f_locals.get("self")
            found = owner if isinstance(owner, torch.nn.Module) else found
        frame = frame.f_back
    return found
