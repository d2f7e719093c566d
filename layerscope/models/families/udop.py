"""UDOP: its encoder takes patches, words and their places together; the patches are made before it."""

from __future__ import annotations

from layerscope.core.roles import Role

EXCEPTIONS: dict[str, Role] = {"patch_embed": "vision", "encoder.embed_patches": "vision"}
