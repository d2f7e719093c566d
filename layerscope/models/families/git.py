"""GIT: the tower and its projection lie inside the decoder, under names of their own."""

from __future__ import annotations

from layerscope.core.roles import Role

EXCEPTIONS: dict[str, Role] = {"git.image_encoder": "vision", "git.visual_projection": "projection"}
