"""Dynamo's name of a module inside the frame it compiled in, the FQN relative to that frame out."""

from __future__ import annotations

import re
from typing import Any

_SUBMODULE = re.compile(r"\._modules\['([^']*)'\]")
_FRAME = re.compile(r"^[LG]\['[^']*'\]")
# A module handed over in a list or tuple, as a decorated `forward` gets its own: `L['args'][0]`.
_START = re.compile(rf"{_FRAME.pattern}(?:\[\d+\])*")
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


# Between what a name starts from and the path from there, in a raw layer.
_BELOW = "\x1f"
IN_NO_MODULE = _BELOW
# What leads through something that is no module: a replaced `forward`, a closure, a bound method.
# Whose module is behind it, only the objects themselves say.
_HOP = re.compile(
    r"\.(?:__\w+__|cell_contents|\w*forward\w*|func|args|keywords)(?![\w])(?:\[[^\]]*\])*"
)


def raw_layer(name: str) -> str:
    """`L['self'].encoder.fc` as a raw layer: what it starts from, and the path from there.

    It starts from the frame's variable, or from what is behind the last replaced `forward` on the way:
    `L['self'].0._old_forward.__self__`.
    """
    frame = _START.match(name)
    start = frame.end() if frame else 0
    for hop in _HOP.finditer(name, start):
        start = hop.end()
    return f"{name[:start]}{_BELOW}{relative_fqn(name[start:])}"


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
    """A raw layer's start (see `raw_layer`; "" for the frame itself) and the path from there."""
    base, _, path = raw.rpartition(_BELOW)
    return base, path
