"""Janus: what it draws images with stands beside the decoder, as a second head and its embedding."""

from __future__ import annotations

from layerscope.core.roles import Role

EXCEPTIONS: dict[str, Role] = {
    "model.generation_head": "head",
    "model.generation_aligner": "embedding",
}
