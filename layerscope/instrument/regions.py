"""The call sites of a graph in, those of regions that run for several modules renamed, out.

`torch.compiler.nested_compile_region` compiles one block for all blocks of its kind: one sub-graph,
traced for the first, called with the parameters of each. What the parameters of a call are called
says which block it is; where they do not say, its layers are unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layerscope.instrument.graph_notes import GraphNotes, NotedProduct
from layerscope.instrument.wrapper_code import KernelCall
from layerscope.records.provenance import CallSite, LayerWeight


def renamed_regions(
    calls: Sequence[KernelCall],
    sites: Sequence[CallSite],
    products: Mapping[str, Sequence[NotedProduct]],
    notes: GraphNotes,
    inputs: Sequence[str | None],
) -> tuple[CallSite, ...]:
    """The sites with the layers of each call of a region.

    Args:
        sites: of the calls, with the layers for which the region was traced.
        products: handle -> its heavy operators.
        inputs: the layer that holds each input of the traced graph as a parameter.
    """
    again = {call.part for call in calls if call.instance and call.part}
    if not again:
        return tuple(sites)
    outer = notes.inputs.get("", ())
    # What the compiler left out of the inputs would shift all behind it.
    owner = dict(zip(outer, inputs, strict=True)) if len(outer) == len(inputs) else {}
    renaming = {
        (part, instance): _renaming(
            [c for c in calls if (c.part, c.instance) == (part, instance)], products, notes, owner
        )
        for part in again
        for instance in {call.instance for call in calls if call.part == part}
    }
    return tuple(
        _renamed(site, renaming[call.part, call.instance]) if call.part in again else site
        for call, site in zip(calls, sites, strict=True)
    )


def _renaming(
    calls: Sequence[KernelCall],
    products: Mapping[str, Sequence[NotedProduct]],
    notes: GraphNotes,
    owner: Mapping[str, str | None],
) -> tuple[str, str] | None:
    """The block that the region was traced for, and the one that this call is for."""
    found = set()
    for call in calls:
        names = notes.inputs.get(call.part, ())
        for product in products.get(call.handle, ()):
            for read in product.reads:
                if read not in names or len(names) != len(call.inputs):
                    continue
                holder = owner.get(call.inputs[names.index(read)])
                if holder is not None and product.layer is not None:
                    found.add(_without_common_end(product.layer, holder))
    return found.pop() if len(found) == 1 else None


def _without_common_end(traced: str, called: str) -> tuple[str, str]:
    one, other = traced.split("."), called.split(".")
    while len(one) > 1 and len(other) > 1 and one[-1] == other[-1]:
        one.pop()
        other.pop()
    return ".".join(one), ".".join(other)


def _renamed(site: CallSite, renaming: tuple[str, str] | None) -> CallSite:
    unknown = CallSite(site.name, "unknown", (), site.operator, (), site.sometimes)
    if renaming is None:
        return unknown
    names = {}
    for layer in {*(part.layer for part in site.layers), *site.products}:
        if layer != renaming[0] and not layer.startswith(f"{renaming[0]}."):
            return unknown
        names[layer] = renaming[1] + layer[len(renaming[0]) :]
    return CallSite(
        site.name,
        site.origin,
        tuple(LayerWeight(names[part.layer], part.weight) for part in site.layers),
        site.operator,
        tuple(names[layer] for layer in site.products),
        site.sometimes,
    )
