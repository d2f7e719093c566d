"""Encoder-decoders whose encoder is the vision tower: Donut, TrOCR, Pix2Struct."""

from __future__ import annotations

from layerscope.core.roles import Role

MODEL_TYPES = ("pix2struct", "vision-encoder-decoder")
EXCEPTIONS: dict[str, Role] = {"encoder": "vision", "enc_to_dec_proj": "projection"}
