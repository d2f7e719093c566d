"""Ovis2: a head on its tower chooses visual words, whose table is an embedding by its class."""

from __future__ import annotations

from layerscope.core.roles import Role

EXCEPTIONS: dict[str, Role] = {
    "model.vision_tower.head_linear": "projection",
    "model.vision_tower.head_norm": "projection",
    "model.visual_embeddings_table": "projection",
}
