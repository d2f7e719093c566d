"""Inductor's own notes on one graph in, the layers of each of its call sites out.

The notes are the code's debug handles (one comment for each kernel call, in order) and three maps:
call site -> nodes of the compiled graph -> nodes of the graph that dynamo traced, whose names the
layers are known by. They are stored with inductor's cached code, so that a warm cache knows as much
as a cold one.

- A call of a library or a template (a matmul, a convolution, an attention) runs one heavy operator
  and belongs to its layer alone; each heavy operator is claimed by exactly one such call.
- A matrix-vector product that no library call runs is a sum in generated code (inductor makes it so
  with coordinate descent tuning). Such code belongs to the product's layer as a template does,
  whatever is fused to it; several products in one share it by the bytes that they read.
- Other generated code may fuse operations of several layers. It is split by the bytes that the
  model's own operations in it put out; an operation of which only views are in it weighs nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from layerscope.records.provenance import CallSite, LayerWeight, Origin

_HANDLE = re.compile(r"^\s*(?:#|//)\s*\[Provenance debug handles\]\s+(\S+):(\d+)\s*$", re.MULTILINE)
_SERIAL = re.compile(r"_\d+$")
_VIEWS = frozenset(
    {
        *("view", "_unsafe_view", "reshape", "permute", "transpose", "t", "expand", "slice"),
        *("select", "squeeze", "unsqueeze", "alias", "as_strided", "split", "split_with_sizes"),
        *("unbind", "getitem", "detach"),
    }
)
_HEAVY = {
    "mm": "mm",
    "addmm": "mm",
    "_int_mm": "mm",
    "_scaled_mm": "mm",
    "_linear_pointwise": "mm",
    "_mkl_linear": "mm",
    "bmm": "bmm",
    "baddbmm": "bmm",
    "convolution": "convolution",
    "_convolution_pointwise": "convolution",
}
_ATTENTION = ("_scaled_dot_product_", "_flash_attention_", "_efficient_attention_")
_LIBRARY_CALLS = ("extern_kernels.", "torch.ops.", "aten.", "triton_tem_", "cpp_CppMicro")


@dataclass(frozen=True)
class TracedNode:
    """An operation of the model as dynamo traced it.

    Attributes:
        layer: relative to the frame.
        operator: the heavy operator that it is; "" for others.
        input_bytes: what a heavy operator reads, parameters included; 0 for others.
    """

    layer: str
    output_bytes: int
    operator: str = ""
    input_bytes: int = 0


@dataclass(frozen=True)
class _Call:
    name: str
    nodes: tuple[str, ...]


def heavy_operator(node: str) -> str:
    """`mm`, `bmm`, `convolution` or `sdpa` for a node or an aten operator of that name, else "".

    SDPA's math form is none: it runs two `bmm`.
    """
    base = _SERIAL.sub("", node)
    if base.startswith(_ATTENTION):
        return "" if base.endswith("_math") else "sdpa"
    return _HEAVY.get(base, "")


def call_sites(
    code: str,
    site_nodes: Mapping[str, Sequence[str]],
    traced_by: Mapping[str, Sequence[str]],
    traced: Mapping[str, TracedNode],
) -> tuple[CallSite, ...]:
    """The call sites of a graph, in the order in which its code runs them.

    Args:
        code: the wrapper that inductor wrote.
        site_nodes: `<kernel name>:<handle>` -> nodes of the compiled graph.
        traced_by: node of the compiled graph -> nodes of the traced graph that it came from.
        traced: node of the traced graph -> its layer.
    """
    calls = [
        _Call(name, tuple(site_nodes.get(f"{name}:{handle}", ())))
        for name, handle in _HANDLE.findall(code)
    ]
    owner = _claims(calls)
    owned = {index: node for node, index in owner.items()}
    in_libraries = {name for node in owner for name in traced_by.get(node, ())}
    generated: set[str] = set()  # heavy operations met in generated code
    sites = []
    for index, call in enumerate(calls):
        heavy = owned.get(index)
        if heavy is not None:
            found = [traced[name].layer for name in traced_by.get(heavy, ()) if name in traced]
            layers: tuple[LayerWeight, ...] = (LayerWeight(found[-1], 1),) if found else ()
            operator = heavy_operator(heavy)
        elif products := _products(call, traced_by, traced, in_libraries):
            layers = _weighed({name: traced[name].input_bytes for name in products}, traced)
            first = products[0]
            # The second half of a sum in two steps is not a second product.
            known = len(products) > 1 or first in generated
            operator = "" if known else traced[first].operator
            generated.update(products)
        else:
            # What a library call does is not done a second time by the code that feeds it.
            layers = _split([n for n in call.nodes if n not in owner], traced_by, traced)
            # Code that only prepares a library call (a weight's layout) has no other node.
            layers = layers or _split(call.nodes, traced_by, traced)
            operator = ""
        origin: Origin = "unknown" if not layers else "exact" if len(layers) == 1 else "fused"
        sites.append(CallSite(call.name, origin, layers, operator))
    return tuple(sites)


def _claims(calls: Sequence[_Call]) -> dict[str, int]:
    """Heavy node -> the library call that runs it.

    A call's notes may name the heavy nodes that it reads from too: calls with one candidate left
    take it first, and what they took is no candidate for others.
    """
    open_calls = {
        index: {node for node in call.nodes if heavy_operator(node)}
        for index, call in enumerate(calls)
        if call.name.startswith(_LIBRARY_CALLS) or "_template" in call.name.lower()
    }
    order = {node: place for place, node in enumerate(dict.fromkeys(_nodes(calls)))}
    claimed: dict[str, int] = {}
    while open_calls:
        left = {index: nodes - claimed.keys() for index, nodes in open_calls.items()}
        index = next((i for i, nodes in left.items() if len(nodes) == 1), next(iter(left)))
        if left[index]:
            claimed[min(left[index], key=order.__getitem__)] = index
        del open_calls[index]
    return claimed


def _nodes(calls: Sequence[_Call]) -> list[str]:
    return [node for call in calls for node in call.nodes]


def _products(
    call: _Call,
    traced_by: Mapping[str, Sequence[str]],
    traced: Mapping[str, TracedNode],
    in_libraries: Collection[str],
) -> list[str]:
    """The model's heavy operations that this code computes itself, as sums of products."""
    sums = [node for node in call.nodes if _SERIAL.sub("", node) == "sum"]
    names = dict.fromkeys(name for node in sums for name in traced_by.get(node, ()))
    return [
        name
        for name in names
        if name in traced and traced[name].operator and name not in in_libraries
    ]


def _split(
    nodes: Sequence[str],
    traced_by: Mapping[str, Sequence[str]],
    traced: Mapping[str, TracedNode],
) -> tuple[LayerWeight, ...]:
    working = [node for node in nodes if _SERIAL.sub("", node) not in _VIEWS]
    operations = dict.fromkeys(
        name for node in working or nodes for name in traced_by.get(node, ()) if name in traced
    )
    return _weighed({name: traced[name].output_bytes for name in operations}, traced)


def _weighed(
    bytes_of: Mapping[str, int], traced: Mapping[str, TracedNode]
) -> tuple[LayerWeight, ...]:
    """The layers of these operations by the bytes of each; equal where all are 0."""
    weights: Counter[str] = Counter()
    for name, count in bytes_of.items():
        weights[traced[name].layer] += count
    if not weights.total():
        weights.update(dict.fromkeys(weights, 1))
    return tuple(LayerWeight(layer, weight) for layer, weight in weights.items() if weight)
