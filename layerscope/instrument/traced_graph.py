"""The graph that dynamo traced in, its operations with their layers out, and whether the compiler's
first graph still has all of its heavy operators."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from layerscope.core.frame_names import IN_NO_MODULE, layer_of, raw_layer
from layerscope.instrument.call_sites import TracedNode
from layerscope.instrument.heavy_operators import heavy_name
from layerscope.instrument.products import graphs_of, products_of, size_hint
from layerscope.private.compiler import HELD, input_source
from layerscope.private.operators import is_operator_or_packet

# What a model calls by other names than the operators that run.
_CALLED = {"linear": "mm", "matmul": "bmm", "scaled_dot_product_attention": "sdpa"}
_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
                 "conv_transpose3d")  # fmt: skip
_CALLED |= dict.fromkeys(_CONVOLUTIONS, "convolution")


@dataclass(frozen=True)
class TracedGraph:
    """One frame as dynamo traced it.

    Attributes:
        nodes: by name, of the frame's own graph.
        inputs: raw layer that holds each input as a parameter, None for others.
        fingerprint: of names, operators and layers. Equal compiled graphs may come from traced graphs
            with other names: notes are shared only where these are equal, too.
        graph: as it was traced.
    """

    nodes: Mapping[str, TracedNode]
    inputs: tuple[str | None, ...]
    fingerprint: str
    graph: torch.fx.GraphModule

    def lost(self, compiled: torch.fx.GraphModule) -> str:
        """What does not fit between the traced graph and the compiler's first, in words; else ""."""
        graphs = {id(part.graph): part for _, part in graphs_of(self.graph)}
        known = {
            (number, node.name): node
            for number, part in graphs.items()
            for node in part.graph.nodes
        }
        reached: set[tuple[int, str]] = set()
        strange = 0
        for _, part in graphs_of(compiled):
            for node in part.graph.nodes:
                origins = [place for place in _origins(node) if place in known]
                reached.update(origins)
                layers = {layer_of(known[place]) or IN_NO_MODULE for place in origins}
                strange += any(p.layer not in layers for p in products_of(node)) and bool(origins)
        wanted = _wanted(self.graph)
        lost = sum(not reached.intersection(same) for same in wanted)
        if not lost and not strange:
            return ""
        return (
            f"of {len(wanted)} heavy operators traced {lost} were lost and {strange} changed their "
            "module before they were compiled"
        )


def traced_graph(graph: torch.fx.GraphModule) -> TracedGraph:
    """Read a graph that dynamo hands to its backend."""
    nodes: dict[str, TracedNode] = {}
    inputs: list[str | None] = []
    digest = hashlib.sha256()
    for name, part in graphs_of(graph):
        for node in part.graph.nodes:
            layer = layer_of(node) or IN_NO_MODULE
            digest.update(repr((name, node.name, node.op, str(node.target), layer)).encode())
            if name:
                continue
            if node.op == "placeholder":
                inputs.append(_holder(node))
            elif node.op in ("call_function", "call_method", "call_module"):
                value = node.meta.get("example_value")
                nodes[node.name] = TracedNode(layer, _bytes(value), *_heavy(node), _operator(node))
    return TracedGraph(nodes, tuple(inputs), digest.hexdigest()[:32], graph)


def _wanted(graph: torch.fx.GraphModule) -> list[set[tuple[int, str]]]:
    """The heavy operators whose results are used; those that compute the same are one."""
    found: list[set[tuple[int, str]]] = []
    for _, part in graphs_of(graph):
        used: set[torch.fx.Node] = set()
        for node in reversed(part.graph.nodes):
            if node.op == "output" or node in used or node.is_impure():
                used.update(node.all_input_nodes)
        values: dict[Any, int] = {}
        number: dict[torch.fx.Node, int] = {}
        same: dict[int, set[tuple[int, str]]] = {}
        for node in part.graph.nodes:
            key = _value(node, number)
            number[node] = values.setdefault(key, len(values))
            if node in used and _heavy(node)[0]:
                same.setdefault(number[node], set()).add((id(part.graph), node.name))
        found += same.values()
    return found


def _value(node: torch.fx.Node, number: Mapping[torch.fx.Node, int]) -> Any:
    """Equal for operations that compute the same from the same."""
    if node.op not in ("call_function", "call_method"):
        return node

    def told(arg: Any) -> Any:
        return ("node", number[arg]) if isinstance(arg, torch.fx.Node) else arg

    args = torch.fx.node.map_aggregate((node.args, node.kwargs), told)
    return node.op, str(node.target), repr(args)


def _origins(node: torch.fx.Node) -> Iterator[tuple[int, str]]:
    waiting = list(node.meta.get("from_node") or ())
    while waiting:
        source = waiting.pop()
        if source.node_info is not None:
            yield source.node_info.graph_id, source.node_info.name
        waiting += source.from_node


def _holder(node: torch.fx.Node) -> str | None:
    """The raw layer of the module that holds this input as a parameter or buffer."""
    name = input_source(node)
    for kind in HELD:
        holder, found, _ = name.partition(kind)
        if found:
            return raw_layer(holder)
    return None


def _heavy(node: torch.fx.Node) -> tuple[str, int]:
    """The heavy operator that the model calls here and the bytes of what it reads; "", 0 for others."""
    called = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    operator = _CALLED.get(called) or heavy_name(called)
    if not operator or node.op == "call_module":
        return "", 0
    return operator, sum(_bytes(x.meta.get("example_value")) for x in node.all_input_nodes)


def _operator(node: torch.fx.Node) -> str:
    """The registered operator that the model calls here (`lib.op_`); "" for anything else."""
    return str(node.target) if is_operator_or_packet(node.target) else ""


def _bytes(value: Any) -> int:
    if isinstance(value, (tuple, list)):
        return sum(_bytes(item) for item in value)
    if not isinstance(value, torch.Tensor):
        return 0
    count = 1
    for size in value.shape:
        count *= size_hint(size)
    return count * value.element_size()
