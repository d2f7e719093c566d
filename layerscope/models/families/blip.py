"""BLIP: its head lies in the text decoder and says nothing of itself."""

from __future__ import annotations

from layerscope.core.roles import Role

EXCEPTIONS: dict[str, Role] = {"text_decoder.cls": "head"}
