"""Chameleon: its image becomes words by a tower inside the decoder, which says nothing of itself."""

from __future__ import annotations

from layerscope.core.roles import Role

EXCEPTIONS: dict[str, Role] = {"model.vqmodel": "vision"}
