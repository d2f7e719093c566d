"""T5Gemma 2: tower and projector lie inside the encoder."""

from __future__ import annotations

from layerscope.core.roles import Role

EXCEPTIONS: dict[str, Role] = {"model.encoder.multi_modal_projector": "projection"}
