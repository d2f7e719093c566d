"""Fuyu: there is no tower; one linear layer makes words of patches."""

from __future__ import annotations

from layerscope.core.roles import Role

EXCEPTIONS: dict[str, Role] = {"model.vision_embed_tokens": "projection"}
