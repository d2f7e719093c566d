"""Heavy operators followed through passes over graphs made by hand."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.fx import Graph, GraphModule, Node

from layerscope.instrument.products import Followed, mark, products_of

aten = torch.ops.aten


def graph_of(build: Callable[[Graph], Node]) -> GraphModule:
    graph = Graph()
    graph.output(build(graph))
    return GraphModule(torch.nn.Module(), graph)


def of(layer: str, node: Node) -> Node:
    node.meta["nn_module_stack"] = {"key": (f"L['self'].{layer}", torch.nn.Linear)}
    return node


def gate(graph: Graph) -> Node:
    """a(x) + b(z)"""
    x, z, wa, wb = (graph.placeholder(name) for name in ("x", "z", "wa", "wb"))
    left = of("a", graph.call_function(aten.mm.default, (x, wa)))
    right = of("b", graph.call_function(aten.mm.default, (z, wb)))
    return graph.call_function(aten.add.Tensor, (left, right))


def layers(node: Node) -> list[str | None]:
    return [p.layer and p.layer.rpartition("\x1f")[2] for p in products_of(node)]


def heavy(module: GraphModule) -> list[list[str | None]]:
    return [layers(node) for node in module.graph.nodes if products_of(node)]


def mm_plus_mm(mat1: object, mat2: object, mat3: object, mat4: object) -> None:
    """Named like inductor's."""


def rewritten(module: GraphModule, replace: Callable[[Graph, Node], Node]) -> None:
    add = next(n for n in module.graph.nodes if n.target is aten.add.Tensor)
    followed = Followed(module)
    with module.graph.inserting_before(add):
        add.replace_all_uses_with(replace(module.graph, add))
    module.graph.eliminate_dead_code()
    followed.through(module)


def test_a_product_onto_a_sum_keeps_its_own_layer() -> None:
    module = graph_of(gate)
    mark(module)

    def fused(graph: Graph, add: Node) -> Node:
        left, right = add.all_input_nodes
        return graph.call_function(aten.addmm.default, (left, *right.args))

    rewritten(module, fused)
    assert heavy(module) == [["a"], ["b"]]


def test_two_products_in_one_are_both_known_in_either_order() -> None:
    for turned in (False, True):
        module = graph_of(gate)
        mark(module)

        def fused(graph: Graph, add: Node, turned: bool = turned) -> Node:
            left, right = add.all_input_nodes
            pair = (*right.args, *left.args) if turned else (*left.args, *right.args)
            names = ("mat1", "mat2", "mat3", "mat4")
            return graph.call_function(mm_plus_mm, (), dict(zip(names, pair, strict=True)))

        rewritten(module, fused)
        assert heavy(module) == [["b", "a"] if turned else ["a", "b"]]


def test_a_product_of_other_operands_is_not_taken_for_one_that_is_gone() -> None:
    module = graph_of(gate)
    mark(module)

    def fused(graph: Graph, add: Node) -> Node:
        left, right = add.all_input_nodes
        return graph.call_function(aten.addmm.default, (left, left.args[0], right.args[1]))

    rewritten(module, fused)
    assert heavy(module) == [["a"], [None]]


def test_marks_that_a_pass_copied_are_no_proof() -> None:
    """The new product took over all that the other's node said of itself."""
    module = graph_of(gate)
    mark(module)

    def fused(graph: Graph, add: Node) -> Node:
        left, right = add.all_input_nodes
        new = graph.call_function(aten.addmm.default, (left, *right.args))
        new.meta = dict(left.meta)
        return new

    rewritten(module, fused)
    assert heavy(module) == [["a"], ["b"]]


def test_equal_operands_in_two_layers_are_nobodys() -> None:
    """Tied weights on one input: nothing in the graph says which of the two was rewritten."""

    def tied(graph: Graph) -> Node:
        x, w = graph.placeholder("x"), graph.placeholder("w")
        left = of("a", graph.call_function(aten.mm.default, (x, w)))
        right = of("b", graph.call_function(aten.mm.default, (x, w)))
        return graph.call_function(aten.add.Tensor, (left, right))

    module = graph_of(tied)
    mark(module)

    def fused(graph: Graph, add: Node) -> Node:
        left, right = add.all_input_nodes
        return graph.call_function(mm_plus_mm, (*left.args, *right.args))

    rewritten(module, fused)
    assert heavy(module) == [[None, None]]
