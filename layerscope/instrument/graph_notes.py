"""A graph after inductor's last pass in, our notes on it out: what is stored with its compiled code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import torch

from layerscope.instrument.heavy_operators import heavy_operator
from layerscope.instrument.products import graphs_of, layer_kept, with_reads

NOTES = "layerscope"


@dataclass(frozen=True)
class NotedProduct:
    """A heavy operator of a node; see `products.Product`."""

    keys: tuple[int, ...]
    layer: str | None
    operator: str
    work: int = 1
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class GraphNotes:
    """What is known of one compiled graph. Sub-graphs have names, the graph itself is "".

    Attributes:
        products: of each node that runs heavy operators.
        layers: of the nodes that no pass has touched; None for the others.
        inputs: of each graph, in order.
        wanted: keys of all heavy operators before the passes.
        problem: what is already known not to fit, in words.
    """

    products: dict[str, dict[str, tuple[NotedProduct, ...]]] = field(default_factory=dict)
    layers: dict[str, dict[str, str | None]] = field(default_factory=dict)
    inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    wanted: tuple[int, ...] = ()
    problem: str = ""


def noted(graph: torch.fx.GraphModule, wanted: frozenset[int], problem: str) -> dict[str, Any]:
    """The notes on a graph, as what JSON can hold."""
    products: dict[str, dict[str, tuple[NotedProduct, ...]]] = {}
    layers: dict[str, dict[str, str | None]] = {}
    inputs: dict[str, tuple[str, ...]] = {}
    for name, part in graphs_of(graph):
        nodes = list(part.graph.nodes)
        if name in products:
            problem = problem or f"two of its sub-graphs are called {name}"
        products[name] = {
            node.name: tuple(
                NotedProduct(p.keys, p.layer, p.operator, p.work, p.reads) for p in with_reads(node)
            )
            for node in nodes
            if heavy_operator(node)
        }
        layers[name] = {n.name: layer_kept(n) for n in nodes if n.op == "call_function"}
        inputs[name] = tuple(node.name for node in nodes if node.op == "placeholder")
    notes = GraphNotes(products, layers, inputs, tuple(sorted(wanted)), problem)
    found: dict[str, Any] = msgspec.to_builtins(notes)
    return found


def read_notes(stored: Any) -> GraphNotes | None:
    """The notes from what was stored; None where nothing was."""
    return None if stored is None else msgspec.convert(stored, GraphNotes)
