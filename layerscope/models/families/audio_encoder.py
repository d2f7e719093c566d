"""Whisper: its encoder hears."""

from __future__ import annotations

from layerscope.core.roles import Role

MODEL_TYPES = ("whisper",)
EXCEPTIONS: dict[str, Role] = {"model.encoder": "audio"}
