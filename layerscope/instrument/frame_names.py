"""Dynamo's name of a module inside the frame it compiled in, the FQN relative to that frame out."""

from __future__ import annotations

import re
from typing import Any

_SUBMODULE = re.compile(r"\._modules\['([^']*)'\]")
_FRAME = re.compile(r"^[LG]\['[^']*'\]")
_SLICE = re.compile(r"\.slice\([^)]*\)")
# A `forward` wrapped on the instance: the method that the wrapper holds is the module's own.
_WRAPPED = re.compile(
    r"\.(?:forward|_compiled_call_impl)\.__closure__\[\d+\]\.cell_contents(?=\.__self__)"
)
_INDEX = re.compile(r"\[(?:'([^']*)'|(\d+))\]")


def relative_fqn(name: str) -> str:
    """`L['self'].encoder.layers.slice(None, 3, None).0` -> `encoder.layers.0`; the frame is ""."""
    name = _SUBMODULE.sub(r".\1", name)
    name = _WRAPPED.sub("", _SLICE.sub("", _FRAME.sub("", name)))
    name = _INDEX.sub(lambda found: f".{found[1] or found[2]}", name)
    return ".".join(part for part in name.split(".") if part not in ("", "__self__", "_orig_mod"))


# Between the local or global that a name starts from and the path from there, in a raw layer.
_BELOW = "\x1f"
IN_NO_MODULE = _BELOW


def raw_layer(name: str) -> str:
    """`L['self'].encoder.fc` as a raw layer: what it starts from, and the path from there."""
    base = _FRAME.match(name)
    return f"{base[0] if base else ''}{_BELOW}{relative_fqn(name)}"


def layer_of(node: Any) -> str | None:
    """The raw layer of an operation of a graph.

    One in no module belongs to the frame itself. None where the operation does not say at all where it
    was traced.
    """
    stack = node.meta.get("nn_module_stack") or node.meta.get("fwd_nn_module_stack")
    if stack:
        return raw_layer(next(reversed(stack.values()))[0])
    traced = node.meta.get("from_node") or node.meta.get("stack_trace")
    return IN_NO_MODULE if traced else None


def parts_of(raw: str) -> tuple[str, str]:
    """A raw layer's start (`L['self']`, "" for the frame itself) and the path from there."""
    base, _, path = raw.rpartition(_BELOW)
    return base, path
