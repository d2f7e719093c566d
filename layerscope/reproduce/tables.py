"""The published tables, by the names of their sweeps, in the order they run."""

from __future__ import annotations

TABLES = ("batch_size", "image_size", "input_length", "optimization", "device")
