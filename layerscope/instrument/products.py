"""A graph on its way through inductor's passes in, the layer of each of its heavy operators out.

Inductor's own notes say which traced operation a rewritten node came from, but a node that replaces
two of them keeps one origin: `addmm(x, a, b)` made of a residual and a product says the sum,
`mm_plus_mm` says the sum of the two. So each heavy operator is marked before the first pass, by the
module that dynamo noted for it. One that a pass made anew is matched with those that vanished in that
pass, by what its operands are computed from: a rewriting moves no product to other operands. What does
not match has no layer, and says so.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from layerscope.core.frame_names import layer_of
from layerscope.instrument.heavy_operators import heavy_operator, product_operands
from layerscope.private.operators import short_name

_MARK = "layerscope_products"
_LAYER = "layerscope_layer"
_BACKWARD = "fwd_nn_module_stack"
_serial = itertools.count()


@dataclass(frozen=True)
class Product:
    """One heavy operator of the model.

    Attributes:
        keys: of the operators it stands for, unique in a compilation: two for an attention made of two
            batched products.
        layer: raw, see `frame_names.layer_of`; None where nothing certain is known.
        work: multiply-accumulates, as a weight between products that share a kernel.
        reads: graph inputs that it reads without anything computed in between.
    """

    keys: tuple[int, ...]
    layer: str | None
    operator: str
    work: int
    reads: tuple[str, ...] = ()


def graphs_of(graph: torch.fx.GraphModule) -> Iterator[tuple[str, torch.fx.GraphModule]]:
    """The graph under the name "", and every graph inside it under its own."""
    yield "", graph
    for path, module in graph.named_modules():
        if path and isinstance(module, torch.fx.GraphModule):
            yield path.rpartition(".")[2], module


def mark(graph: torch.fx.GraphModule) -> None:
    """Note each operation's layer at the operation, before any pass; one that is marked stays so."""
    for _, part in graphs_of(graph):
        if any(_LAYER in node.meta for node in part.graph.nodes):
            continue
        for node in part.graph.nodes:
            if node.op != "call_function":
                continue
            node.meta[_LAYER] = layer = layer_of(node)
            if operator := heavy_operator(node):
                pairs = product_operands(node)
                node.meta[_MARK] = tuple(
                    Product((next(_serial),), layer, operator, _work(node, pair)) for pair in pairs
                )


def products_of(node: torch.fx.Node) -> tuple[Product, ...]:
    """The products that a node does; empty for one that is no heavy operator."""
    return node.meta.get(_MARK, ()) if heavy_operator(node) else ()


def layer_kept(node: torch.fx.Node) -> str | None:
    """The layer of a node that no pass has touched; None for one that a pass made."""
    found = node.meta.get(_LAYER)
    return found if isinstance(found, str) else None


@dataclass(frozen=True)
class _Was:
    product: Product
    operands: tuple[int, ...]  # what each is computed from, as bits


class Followed:
    """The products of a graph before some passes; `through` says where they are after them."""

    def __init__(self, graph: torch.fx.GraphModule) -> None:
        self._before: dict[str, list[_Was]] = {}
        for name, part in graphs_of(graph):
            computed_from = _computed_from(part.graph)
            self._before[name] = [
                _Was(product, tuple(computed_from[operand] for operand in pair))
                for node in part.graph.nodes
                for product, pair in zip(products_of(node), product_operands(node), strict=False)
            ]

    @property
    def keys(self) -> frozenset[int]:
        """Of all products before the passes."""
        return frozenset(
            key for found in self._before.values() for was in found for key in was.product.keys
        )

    def through(self, graph: torch.fx.GraphModule) -> None:
        """Mark the nodes that the passes made."""
        for name, part in graphs_of(graph):
            heavy = [node for node in part.graph.nodes if heavy_operator(node)]
            uses: Counter[int] = Counter(
                key for node in heavy for product in products_of(node) for key in product.keys
            )
            made = [node for node in heavy if not _is_marked(node, uses)]
            if not made:
                continue
            alive = {
                key
                for node in heavy
                if node not in made
                for product in products_of(node)
                for key in product.keys
            }
            gone = [
                was
                for was in self._before.get(name, ())
                if not alive.intersection(was.product.keys)
            ]
            computed_from = _computed_from(part.graph)
            for node in made:
                node.meta[_MARK] = tuple(_found(node, computed_from, gone))


def _is_marked(node: torch.fx.Node, uses: Counter[int]) -> bool:
    """Whether the node's products are its own: a pass may have copied another's marks to it."""
    products = products_of(node)
    return len(products) == len(product_operands(node)) and all(
        uses[key] == 1 for product in products for key in product.keys
    )


def _found(
    node: torch.fx.Node, computed_from: dict[torch.fx.Node, int], gone: list[_Was]
) -> Iterator[Product]:
    operator = heavy_operator(node)
    for pair in product_operands(node):
        operands = tuple(computed_from[operand] for operand in pair)
        same = [was for was in gone if _same(was.operands, operands)]
        if operator == "sdpa" and not same:
            same = _halves(operands, gone)
            alike = len(same) == 2 and len({was.product.layer for was in same}) == 1
            taken = same if alike else []
        else:
            # Equal operands in one layer are equals: which of them is which makes no difference.
            taken = same[:1] if len({was.product.layer for was in same}) == 1 else []
        for was in taken:
            gone.remove(was)
        yield Product(
            keys=tuple(key for was in taken for key in was.product.keys),
            layer=taken[0].product.layer if taken else None,
            # What it was, not what a pass made of it: a batch of one becomes a plain product.
            operator=taken[0].product.operator if len(taken) == 1 else operator,
            work=_work(node, pair),
        )


def _same(before: Sequence[int], after: Sequence[int]) -> bool:
    """A product and its transpose are one product."""
    return sorted(before[:2]) == sorted(after[:2]) and len(before) == len(after)


def _halves(operands: Sequence[int], gone: Sequence[_Was]) -> list[_Was]:
    """The two batched products that an attention replaces: query with key, and that with value."""
    if len(operands) < 3:
        return []
    query, key, value = operands[:3]
    first = [w for w in gone if len(w.operands) == 2 and _same(w.operands, (query, key))]
    second = [
        was
        for was in gone
        if was not in first[:1]
        and len(was.operands) == 2
        and any(
            was.operands[i] == value and was.operands[1 - i] & (query | key) == query | key
            for i in (0, 1)
        )
    ]
    return [*first[:1], *second[:1]] if len(first) == 1 and len(second) == 1 else []


def _computed_from(graph: torch.fx.Graph) -> dict[torch.fx.Node, int]:
    """The inputs that each node is computed from, one bit for each."""
    found: dict[torch.fx.Node, int] = {}
    inputs = itertools.count()
    for node in graph.nodes:
        bits = 1 << next(inputs) if node.op in ("placeholder", "get_attr") else 0
        for operand in node.all_input_nodes:
            bits |= found[operand]
        found[node] = bits
    return found


def with_reads(node: torch.fx.Node) -> tuple[Product, ...]:
    """The node's products with the graph inputs that each reads directly."""
    pairs = product_operands(node)
    return tuple(
        replace(product, reads=tuple(name for name in map(_input_below, pair) if name))
        for product, pair in zip(products_of(node), pairs, strict=False)
    )


def _input_below(node: torch.fx.Node) -> str:
    """The graph input of which the node is a view; "" where something is computed in between."""
    views = ("permute", "transpose", "t", "view", "reshape", "expand", "unsqueeze", "squeeze")
    while node.op == "call_function" and node.all_input_nodes:
        if short_name(node.target) not in views:
            return ""
        node = node.all_input_nodes[0]
    return node.name if node.op == "placeholder" else ""


def _work(node: torch.fx.Node, pair: Sequence[torch.fx.Node]) -> int:
    shapes = [_shape(operand) for operand in pair[:2]]
    if len(shapes) < 2 or not all(shapes):
        return 1
    left, right = shapes
    count = right[-1]
    for size in left:
        count *= size
    return max(count, 1)


def _shape(node: torch.fx.Node) -> list[int]:
    value: Any = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return []
    return [size_hint(size) for size in value.shape]


def size_hint(size: Any) -> int:
    """A size that may vary as the one it was compiled with. Asking int() would fix it for good."""
    hint = size.node.hint if isinstance(size, torch.SymInt) else size
    return int(hint) if hint is not None else 1
