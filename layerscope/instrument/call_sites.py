"""Inductor's notes and ours on one graph in, the layers of each of its call sites out.

Inductor's are the code's debug handles (one comment for each kernel call) and two maps: call site ->
nodes of the compiled graph -> nodes of the graph that dynamo traced. Ours say which heavy operators each
node of the compiled graph does, and for which layer (`graph_notes`). All are stored with inductor's
cached code, so that a warm cache knows as much as a cold one.

- A call of a library or a template (a matmul, a convolution, an attention) runs heavy operators and
  belongs to their layer; each heavy operator is claimed by one call. A call that claims none belongs to
  a layer only where it runs an operation that no pass has touched, or the very operator that the model
  calls there (one of the user's own that works in place: passes take it apart and put it together
  again); else its layer is unknown.
- Generated code that runs a heavy operator itself (a template, a product of one row as a sum) belongs to
  that operator's layer, whatever is fused to it; several in one share it by what they multiply or read.
- Other generated code may fuse operations of several layers. It is split by the bytes that the
  model's own operations in it put out; an operation of which only views are in it weighs nothing.
- The heavy operators that are claimed must be those of the graph, each once. Where they are not, nothing
  is claimed to be known of the graph at all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from layerscope.instrument.graph_notes import GraphNotes, NotedProduct
from layerscope.instrument.heavy_operators import heavy_name
from layerscope.instrument.regions import renamed_regions
from layerscope.instrument.wrapper_code import KernelCall, handles, kernel_calls
from layerscope.records.provenance import CallSite, LayerWeight, Origin

_SERIAL = re.compile(r"_\d+$")
_VIEWS = frozenset(
    {
        *("view", "_unsafe_view", "reshape", "permute", "transpose", "t", "expand", "slice"),
        *("select", "squeeze", "unsqueeze", "alias", "as_strided", "split", "split_with_sizes"),
        *("unbind", "getitem", "detach"),
    }
)
_LIBRARY_CALLS = ("extern_kernels.", "torch.ops.", "aten.", "triton_tem_", "cpp_CppMicro")
_HIGHER_ORDER = re.compile(r"(invoke_subgraph|cond|while_loop|(repeated_)?subgraph|\w+_graph)_?\d*")


@dataclass(frozen=True)
class TracedNode:
    """An operation of the model as dynamo traced it.

    Attributes:
        layer: relative to the frame.
        operator: the heavy operator that it is; "" for others.
        input_bytes: what a heavy operator reads, parameters included; 0 for others.
        called: the operator that the model calls, with or without an overload (`lib.op_.default`).
    """

    layer: str
    output_bytes: int
    operator: str = ""
    input_bytes: int = 0
    called: str = ""


@dataclass(frozen=True)
class Sites:
    """The call sites of a graph in the order in which its code runs them, and why nothing is known."""

    sites: tuple[CallSite, ...]
    problem: str = ""


def call_sites(
    code: str,
    site_nodes: Mapping[str, Sequence[str]],
    traced_by: Mapping[str, Sequence[str]],
    traced: Mapping[str, TracedNode],
    notes: GraphNotes | None,
    inputs: Sequence[str | None] = (),
) -> Sites:
    """The call sites of a graph.

    Args:
        code: the wrapper that inductor wrote.
        site_nodes: `<kernel name>:<handle>` -> nodes of the compiled graph.
        traced_by: node of the compiled graph -> nodes of the traced graph that it came from.
        traced: node of the traced graph -> its layer.
        notes: on the compiled graph; None where nothing was noted, and nothing is known then.
        inputs: of the traced graph: the layer that holds each as a parameter, None for others.
    """
    calls = kernel_calls(code)
    if notes is None:
        return _unknown(calls, "it was compiled where nothing could be noted (a backward pass)")
    once = {call.handle: call for call in calls if not call.instance}
    if handles(code) - once.keys():
        return _unknown(calls, "its code runs kernels in an order that is not understood")
    claims = _Claims(tuple(once.values()), site_nodes, notes)
    problem = notes.problem or claims.difference(notes)
    if problem:
        return _unknown(calls, problem)
    work = _Work(site_nodes, traced_by, traced, notes, claims)
    sites = {handle: work.site(call) for handle, call in once.items()}
    ordered = [sites[call.handle] for call in calls]
    return Sites(renamed_regions(calls, ordered, claims.by_handle, notes, inputs))


def _unknown(calls: Sequence[KernelCall], problem: str) -> Sites:
    return Sites(
        tuple(CallSite(call.name, "unknown", sometimes=call.sometimes) for call in calls), problem
    )


class _Claims:
    """Which call runs which heavy operator."""

    def __init__(
        self,
        calls: Sequence[KernelCall],
        site_nodes: Mapping[str, Sequence[str]],
        notes: GraphNotes,
    ) -> None:
        self.by_handle: dict[str, list[NotedProduct]] = {}
        self.nodes: set[tuple[str, str]] = set()
        self._calls = {call.handle: call for call in calls}
        products = {
            (part, n): p for part, found in notes.products.items() for n, p in found.items()
        }
        named = {
            call.handle: [
                (call.part, n)
                for n in site_nodes.get(f"{call.name}:{call.handle}", ())
                if (call.part, n) in products
            ]
            for call in calls
        }
        library = {h: named[h] for h, call in self._calls.items() if is_library(call.name)}
        for node, takers in _taken(library, products).items():
            self._give(node, takers, products[node])
        self.in_libraries = set(self.nodes)
        left: dict[tuple[str, str], list[str]] = {}
        for handle, found in named.items():
            for node in found:
                if node not in self.nodes and handle not in library:
                    left.setdefault(node, []).append(handle)
        for node, takers in left.items():
            # Of several kernels for one product (a reduction in two steps) the first is counted.
            self._give(node, takers[:1], products[node])

    def difference(self, notes: GraphNotes) -> str:
        """What was traced and is not claimed, or claimed and was not traced, in words; else ""."""
        claimed = Counter(key for found in self.by_handle.values() for p in found for key in p.keys)
        wanted = set(notes.wanted)
        missing = len(wanted - claimed.keys())
        twice = sum(count > 1 for count in claimed.values())
        strange = len(claimed.keys() - wanted) + sum(
            p.layer is None or not p.keys for found in self.by_handle.values() for p in found
        )
        if not (missing or twice or strange):
            return ""
        told = [
            f"{count} {what}"
            for count, what in (
                (missing, "not found in its kernels"),
                (twice, "found in several"),
                (strange, "in its kernels that were not traced"),
            )
            if count
        ]
        return f"of {len(wanted)} heavy operators {', '.join(told)}"

    def _give(
        self, node: tuple[str, str], takers: Sequence[str], products: Sequence[NotedProduct]
    ) -> None:
        self.nodes.add(node)
        if len(takers) == 1 or len(takers) != len(products):
            self.by_handle.setdefault(takers[0], []).extend(products)
            return
        # One product each: the call whose code names what the product reads.
        free = list(products)
        for handle in takers:
            text = self._calls[handle].text
            fits = [p for p in free if p.reads and all(_names(text, read) for read in p.reads)]
            if len(fits) == 1:
                free.remove(fits[0])
            # Where the code does not tell, each call may be either's: it is shared.
            self.by_handle.setdefault(handle, []).extend(fits if len(fits) == 1 else products)


def is_library(name: str) -> bool:
    """Whether a call runs a library's kernel, or one that inductor made from a template."""
    return name.startswith(_LIBRARY_CALLS) or "_template" in name.lower()


def _names(text: str, read: str) -> bool:
    return (
        re.search(rf"\b(?:\w+_graph_\d+_|\w*subgraph_?\d+_)?{re.escape(read)}\b", text) is not None
    )


def _taken(
    calls: Mapping[str, Sequence[tuple[str, str]]],
    products: Mapping[tuple[str, str], Sequence[NotedProduct]],
) -> dict[tuple[str, str], list[str]]:
    """Heavy node -> the library calls that run it: as many as it has products, at most.

    A call's notes may name the heavy nodes that it reads from too: calls with one candidate left
    take it first, and what they took is no candidate for others.
    """
    waiting = dict(calls)
    order = {node: place for place, node in enumerate(n for found in calls.values() for n in found)}
    taken: dict[tuple[str, str], list[str]] = {}
    while waiting:
        left = {
            handle: [n for n in dict.fromkeys(nodes) if len(taken.get(n, ())) < len(products[n])]
            for handle, nodes in waiting.items()
        }
        handle = next((h for h, nodes in left.items() if len(nodes) == 1), next(iter(left)))
        if left[handle]:
            node = min(left[handle], key=lambda n: (len(taken.get(n, ())), order[n]))
            taken.setdefault(node, []).append(handle)
        del waiting[handle]
    return taken


class _Work:
    """What each call does, for whom."""

    def __init__(
        self,
        site_nodes: Mapping[str, Sequence[str]],
        traced_by: Mapping[str, Sequence[str]],
        traced: Mapping[str, TracedNode],
        notes: GraphNotes,
        claims: _Claims,
    ) -> None:
        self._site_nodes = site_nodes
        self._traced_by = traced_by
        self._traced = traced
        self._notes = notes
        self._claims = claims
        self._in_libraries = {
            name
            for part, node in claims.in_libraries
            if not part
            for name in traced_by.get(node, ())
        }
        self._summed: set[str] = set()  # heavy operations met in generated code

    def site(self, call: KernelCall) -> CallSite:
        """The call as a site."""
        nodes = tuple(self._site_nodes.get(f"{call.name}:{call.handle}", ()))
        operator, products = "", tuple[str, ...]()
        claimed = self._claims.by_handle.get(call.handle)
        if claimed:
            layers = _shared(claimed)
            operator = claimed[0].operator
            products = tuple(p.layer for p in claimed if p.layer is not None)
        elif call.part or is_library(call.name):
            layers = self._untouched(call.part, nodes) or self._as_called(call, nodes)
        elif summed := self._products(nodes):
            layers = _weighed({n: self._traced[n].input_bytes for n in summed}, self._traced)
            operator, products = self._met(summed)
        else:
            # What a library call does is not done a second time by the code that feeds it.
            own = [n for n in nodes if ("", n) not in self._claims.nodes]
            layers = self._split(own)
            # Code that only prepares a library call (a weight's layout) has no other node.
            layers = layers or self._prepares(nodes) or self._split(nodes)
            # A product with one column and one row is a multiplication, cheap beside what else is here.
            operator, products = self._met(self._products(nodes, "mul"))
        origin: Origin = "unknown" if not layers else "exact" if len(layers) == 1 else "fused"
        if call.sometimes:
            # Nothing in a trace says which branch ran, or how often.
            return CallSite(call.name, "unknown", (), operator, (), sometimes=True)
        return CallSite(call.name, origin, layers, operator, products)

    def _untouched(self, part: str, nodes: Sequence[str]) -> tuple[LayerWeight, ...]:
        """The layer of operations that no pass has touched, where it is one."""
        known = self._notes.layers.get(part, {})
        layers = {known.get(node) for node in _working(part, nodes)}
        layer = layers.pop() if len(layers) == 1 else None
        return () if layer is None else (LayerWeight(layer, 1),)

    def _as_called(self, call: KernelCall, nodes: Sequence[str]) -> tuple[LayerWeight, ...]:
        """The layer that calls this very operator, where all that is traced to this call is of one.

        A pass that makes one operation of two makes another operator of them. Only of the graph itself:
        what is traced of sub-graphs has no names of its own.
        """
        working = _working(call.part, nodes)
        origins = [self._traced.get(n) for node in working for n in self._traced_by.get(node, ())]
        every = all(self._traced_by.get(node) for node in working)
        if call.part or not every or any(heavy_name(node) for node in working):
            return ()
        layers = {origin.layer if origin and _runs(call, origin) else None for origin in origins}
        layer = layers.pop() if len(layers) == 1 else None
        return () if layer is None else (LayerWeight(layer, 1),)

    def _prepares(self, nodes: Sequence[str]) -> tuple[LayerWeight, ...]:
        products = self._notes.products.get("", {})
        found = [p for node in nodes for p in products.get(node, ())]
        return _shared(found) if found else ()

    def _met(self, names: Sequence[str]) -> tuple[str, tuple[str, ...]]:
        """The operator and the layers of heavy operations that generated code does now."""
        # The second half of a sum in two steps is not a second product.
        new = [name for name in names if name not in self._summed]
        self._summed.update(new)
        operator = self._traced[new[0]].operator if new else ""
        return operator, tuple(self._traced[name].layer for name in new)

    def _products(self, nodes: Sequence[str], last: str = "sum") -> list[str]:
        """The model's heavy operations that this code computes itself, as sums of products.

        Args:
            last: what they end with.
        """
        ends = [node for node in nodes if _SERIAL.sub("", node) == last]
        names = dict.fromkeys(name for node in ends for name in self._traced_by.get(node, ()))
        return [
            name
            for name in names
            if name in self._traced
            and self._traced[name].operator
            and name not in self._in_libraries
        ]

    def _split(self, nodes: Sequence[str]) -> tuple[LayerWeight, ...]:
        traced = self._traced
        working = [node for node in nodes if _SERIAL.sub("", node) not in _VIEWS]
        operations = dict.fromkeys(
            name
            for node in working or nodes
            for name in self._traced_by.get(node, ())
            if name in traced
        )
        return _weighed({name: traced[name].output_bytes for name in operations}, traced)


def _working(part: str, nodes: Sequence[str]) -> list[str]:
    """Without views, and without what only calls a sub-graph."""
    return [
        node
        for node in nodes
        if _SERIAL.sub("", node) not in _VIEWS and not (part and _HIGHER_ORDER.fullmatch(node))
    ]


def _runs(call: KernelCall, traced: TracedNode) -> bool:
    """Whether a call runs the operator that the model called: `torch.ops.lib.op_.default`."""
    operator = call.name.removeprefix("torch.ops.")
    same = operator == traced.called or operator.startswith(f"{traced.called}.")
    return bool(traced.called) and same and not traced.operator


def _shared(products: Sequence[NotedProduct]) -> tuple[LayerWeight, ...]:
    """The layers of these products by what each multiplies."""
    weights: Counter[str] = Counter()
    for product in products:
        if product.layer is None:
            return ()
        weights[product.layer] += product.work
    if len(weights) == 1:
        return (LayerWeight(next(iter(weights)), 1),)
    return tuple(LayerWeight(layer, weight) for layer, weight in weights.items())


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


def relabelled(site: CallSite, layer_of: Mapping[str, str | None]) -> CallSite:
    """The same site with other names for its layers; unknown where one has none."""
    layers = [LayerWeight(layer_of.get(p.layer) or "", p.weight) for p in site.layers]
    needed: Collection[str] = {*(p.layer for p in site.layers), *site.products}
    if any(layer_of.get(layer) is None for layer in needed):
        return replace(site, origin="unknown", layers=(), products=())
    merged: Counter[str] = Counter()
    for part in layers:
        merged[part.layer] += part.weight
    products = tuple(layer_of[layer] or "" for layer in site.products)
    found = tuple(LayerWeight(layer, weight) for layer, weight in merged.items())
    origin: Origin = site.origin if len(found) != 1 else "exact"
    return replace(site, layers=found, products=products, origin=origin)
