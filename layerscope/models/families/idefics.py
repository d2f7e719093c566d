"""IDEFICS: its resampler lies inside the decoder."""

from __future__ import annotations

from layerscope.core.roles import Role

EXCEPTIONS: dict[str, Role] = {"model.perceiver_resampler": "projection"}
