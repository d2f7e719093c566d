"""InstructBLIP: its prompt is embedded before T5's encoder runs, which is the encoder's work."""

from __future__ import annotations

from layerscope.core.roles import Role

EXCEPTIONS: dict[str, Role] = {"language_model.shared": "encoder"}
