"""An operation of a graph in, whether it is a heavy operator, and on which operands it works, out.

Heavy are products (matmul, batched matmul), convolutions and attentions: the operators that a library or
a template runs as one kernel of its own, and nearly all of the work.
"""

from __future__ import annotations

import re
from typing import Any

import torch

_SERIAL = re.compile(r"_\d+$")
_OVERLOAD = re.compile(r"_(default|out|dtype|dtype_out)$")
# Operator -> what it is and at which of its arguments the two factors stand.
_HEAVY = {
    **dict.fromkeys(("mm", "_int_mm", "_scaled_mm", "_scaled_mm_v2", "linear", "mv"), ("mm", (0, 1))),
    **dict.fromkeys(("addmm", "_addmm_activation", "addmv"), ("mm", (1, 2))),
    **dict.fromkeys(("_linear_pointwise", "_mkl_linear", "mkldnn_linear"), ("mm", (0, 1))),
    **dict.fromkeys(("qlinear_pointwise", "qlinear"), ("mm", (0, 3))),
    **dict.fromkeys(
        ("_weight_int8pack_mm", "_weight_int4pack_mm", "_mixed_mm", "_sparse_semi_structured_mm"),
        ("mm", (0, 1)),
    ),
    **dict.fromkeys(("_grouped_mm", "_scaled_grouped_mm", "_scaled_grouped_mm_v2"), ("mm", (0, 1))),
    **dict.fromkeys(("mm_plus_mm", "fused_int_mm_mul"), ("mm", (0, 1))),
    "bmm": ("bmm", (0, 1)),
    "baddbmm": ("bmm", (1, 2)),
    **dict.fromkeys(
        ("convolution", "_convolution_pointwise", "_convolution_pointwise_", "conv_transpose",
         "_convolution_transpose_pointwise", "mkldnn_convolution", "cudnn_convolution",
         "cudnn_convolution_relu", "cudnn_convolution_add_relu", "miopen_convolution"),
        ("convolution", (0, 1)),
    ),
    "flex_attention": ("sdpa", (0, 1, 2)),
}  # fmt: skip
_ATTENTION = ("_scaled_dot_product_", "_flash_attention_", "_efficient_attention_", "_cudnn_attention_")
_BY_NAME = {"mm_plus_mm": ("mat1", "mat2", "mat3", "mat4"), "fused_int_mm_mul": ("mat1", "mat2")}


def heavy_name(name: str) -> str:
    """`mm`, `bmm`, `convolution` or `sdpa` for a node or an aten operator of that name, else "".

    SDPA's math form is none: it runs two `bmm`.
    """
    base = _OVERLOAD.sub("", _SERIAL.sub("", name))
    if base.startswith(_ATTENTION):
        return "" if base.endswith(("_math", "_backward")) else "sdpa"
    return _HEAVY[base][0] if base in _HEAVY else ""


def heavy_operator(node: torch.fx.Node) -> str:
    """The same for a node of a graph, by the operator that it calls."""
    return heavy_name(_called(node)) if node.op == "call_function" else ""


def product_operands(node: torch.fx.Node) -> tuple[tuple[torch.fx.Node, ...], ...]:
    """For each product of a heavy operator the operands that make it: two for `mm_plus_mm`.

    A bias or a sum that is added is none of them.
    """
    called = _called(node)
    base = _OVERLOAD.sub("", called)
    if base in _BY_NAME:  # an operation of inductor's own, whose operands have names
        operands = [*node.args, *(node.kwargs[name] for name in _BY_NAME[base] if name in node.kwargs)]
        return tuple(_nodes(operands[at : at + 2]) for at in range(0, len(_BY_NAME[base]), 2))
    if base.startswith(_ATTENTION):
        return (_nodes(node.args[:3]),)
    places = _HEAVY[base][1] if base in _HEAVY else ()
    return (_nodes([node.args[at] for at in places if at < len(node.args)]),) if places else ()


def _nodes(args: Any) -> tuple[torch.fx.Node, ...]:
    return tuple(arg for arg in args if isinstance(arg, torch.fx.Node))


def _called(node: torch.fx.Node) -> str:
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.partition("::")[2]
    name = getattr(target, "__name__", "") or getattr(target, "_name", "")
    return str(name).removesuffix("_hop")
