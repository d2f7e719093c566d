"""Dynamo's name of a module inside the frame it compiled in, the FQN relative to that frame out."""

from __future__ import annotations

import re

_SUBMODULE = re.compile(r"\._modules\['([^']*)'\]")
_FRAME = re.compile(r"^[LG]\['[^']*'\]")
_SLICE = re.compile(r"\.slice\([^)]*\)")
_INDEX = re.compile(r"\[(?:'([^']*)'|(\d+))\]")


def relative_fqn(name: str) -> str:
    """`L['self'].encoder.layers.slice(None, 3, None).0` -> `encoder.layers.0`; the frame is ""."""
    name = _SUBMODULE.sub(r".\1", name)
    name = _SLICE.sub("", _FRAME.sub("", name))
    name = _INDEX.sub(lambda found: f".{found[1] or found[2]}", name)
    return ".".join(part for part in name.split(".") if part not in ("", "__self__", "_orig_mod"))
