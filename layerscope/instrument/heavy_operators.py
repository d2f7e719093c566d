"""An operation of a graph in, whether it is a heavy operator, and on which operands it works, out.

Heavy are products (matmul, batched matmul), convolutions and attentions: the operators that a library or
a template runs as one kernel of its own, and nearly all of the work.
"""

from __future__ import annotations

import re
from typing import Any

import torch

from layerscope.private.operators import name_of_target
from layerscope.records.heavy import heavy_kind

_SERIAL = re.compile(r"_\d+$")
_OVERLOAD = re.compile(r"_(default|out|dtype|dtype_out)$")
# At which of an operator's arguments the factors stand, where not at the first two.
_FACTORS = {
    **dict.fromkeys(("addmm", "_addmm_activation", "addmv", "baddbmm"), (1, 2)),
    "qlinear_pointwise": (0, 3),
    "qconv_pointwise": (0, 3),
    "flex_attention": (0, 1, 2),
}
# Operations of inductor's own, whose factors have names: two for each product.
_BY_NAME = {"mm_plus_mm": ("mat1", "mat2", "mat3", "mat4"), "fused_int_mm_mul": ("mat1", "mat2")}


def heavy_name(name: str) -> str:
    """`mm`, `bmm`, `convolution` or `sdpa` for a node of that name (`addmm_default_2`), else ""."""
    return heavy_kind(_OVERLOAD.sub("", _SERIAL.sub("", name)))


def heavy_operator(node: torch.fx.Node) -> str:
    """The same for a node of a graph, by the operator that it calls."""
    return heavy_name(_called(node)) if node.op == "call_function" else ""


def product_operands(node: torch.fx.Node) -> tuple[tuple[torch.fx.Node, ...], ...]:
    """For each product of a heavy operator the operands that make it: two for `mm_plus_mm`.

    A bias or a sum that is added is none of them.
    """
    base = _OVERLOAD.sub("", _called(node))
    if base in _BY_NAME:
        named = (node.kwargs[name] for name in _BY_NAME[base] if name in node.kwargs)
        operands = [*node.args, *named]
        return tuple(_nodes(operands[at : at + 2]) for at in range(0, len(_BY_NAME[base]), 2))
    kind = heavy_kind(base)
    if not kind:
        return ()
    places = _FACTORS.get(base, (0, 1, 2) if kind == "sdpa" else (0, 1))
    return (_nodes([node.args[at] for at in places if at < len(node.args)]),)


def _nodes(args: Any) -> tuple[torch.fx.Node, ...]:
    return tuple(arg for arg in args if isinstance(arg, torch.fx.Node))


def _called(node: torch.fx.Node) -> str:
    return name_of_target(node.target).removesuffix("_hop")
