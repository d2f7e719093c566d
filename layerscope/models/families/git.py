"""GIT: the projection of its tower lies inside the decoder."""

from __future__ import annotations

from layerscope.core.roles import Role

EXCEPTIONS: dict[str, Role] = {"git.visual_projection": "projection"}
