"""What one executed operator moves: its arguments and results in, regions of storages out.

Each distinct byte that an operator reads counts once, and each that it writes once. A lookup reads
the places it looks up; a scatter touches the places it writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from layerscope.measure.flops.operands import argument_names
from layerscope.measure.flops.operator_kinds import OVERWRITES, SCATTERS, base_name
from layerscope.measure.flops.regions import Region, bytes_in, region_of
from layerscope.measure.flops.tensors import parts_of, tensors_in
from layerscope.measure.flops.touched import Touched, touched_by
from layerscope.private.operators import (
    schema_of,
)
from layerscope.private.tensors import storage_key

if TYPE_CHECKING:
    import torch

    from layerscope.private.operators import Operator

# Results that an embedding bag only keeps for its backward pass, and where its bags begin.
_BOOKKEEPING = frozenset({"_embedding_bag", "_embedding_bag_forward_only"})
# Write into their first argument what was there already, added to.
_ACCUMULATES = frozenset({"index_add_", "index_reduce_", "scatter_add_", "scatter_reduce_"})
_ACCUMULATES |= {"embedding_renorm_"}


@dataclass(slots=True)
class Moved:
    """What one operator reads or writes of one storage.

    Attributes:
        tensor: one of the tensors that look at it.
        regions: what is read or written whole.
        touched: places of a table that were looked up or written.
    """

    tensor: torch.Tensor
    regions: list[Region] = field(default_factory=list)
    touched: list[Touched] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Distinct bytes; a table read whole and looked up as well counts whole."""
        whole = bytes_in(self.regions)
        if not self.touched:
            return whole
        return max(whole, sum({t.key: t.size for t in self.touched}.values()))


def storage_id(tensor: torch.Tensor) -> int:
    """Which storage a tensor looks at; views of one tensor share it. 0 for tensors without one."""
    import torch

    return storage_key(tensor) if tensor.layout is torch.strided else 0


def storages_of(tensors: Iterable[torch.Tensor]) -> set[int]:
    """The storages that hold these tensors' elements."""
    return {storage_id(part) for tensor in tensors for part in parts_of(tensor)}


def reads(
    operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> dict[int, Moved]:
    """What an operator reads, by storage."""
    name, names = base_name(operator), argument_names(operator)
    touched = touched_by(name, operator, args, kwargs, result)
    skipped = _write_only(operator, args, kwargs)
    if name in _BOOKKEEPING:
        skipped |= {2, "offsets"}
    named: Iterator[tuple[int | str, Any]] = iter((*enumerate(args), *kwargs.items()))
    found: dict[int, Moved] = {}
    for key, value in named:
        _add_packed(found, value)
        is_first = key in (0, names[0] if names else 0)
        if key in skipped:
            continue
        for tensor in tensors_in(value):
            _add(found, tensor, touched if is_first else None)
    return found


def writes(
    operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> dict[int, Moved]:
    """What an operator writes, by storage: its results and the arguments that it changes."""
    name = base_name(operator)
    found: dict[int, Moved] = {}
    if name == "_local_scalar_dense":
        return found
    results = list(tensors_in(result))
    if name in _BOOKKEEPING:
        results = results[:1]
    touched = touched_by(name, operator, args, kwargs, result) if name in SCATTERS else None
    for tensor in (*results, *_changed(operator, args, kwargs)):
        _add(found, tensor, touched)
    return found


def _add(found: dict[int, Moved], tensor: torch.Tensor, touched: Touched | None) -> None:
    for part in parts_of(tensor):
        storage = storage_id(part)
        moved = found.setdefault(storage, Moved(part))
        if touched is not None:
            moved.touched.append(touched)
        elif storage:
            moved.regions.append(region_of(part))
        else:  # an opaque layout (mkldnn) has no storage to look into
            size = int(part.numel()) * part.element_size()
            moved.touched.append(Touched(("opaque", id(part)), size))


def _add_packed(found: dict[int, Moved], value: Any) -> None:
    """The weights inside a packed object (`torch.ops.quantized`), which a schema passes whole."""
    import torch

    if isinstance(value, torch.ScriptObject) and hasattr(value, "unpack"):
        for place, tensor in enumerate(tensors_in(value.unpack())):
            # Unpacking copies: the object, not the copy's storage, says what was read.
            key = -(1 + 2 * abs(hash(value)) + place)
            found[key] = Moved(tensor, [region_of(tensor)])


def is_packed(storage: int) -> bool:
    """Whether this stands for weights in a packed object."""
    return storage < 0


def _changed(
    operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[torch.Tensor]:
    """The arguments that the schema says are written."""
    names = argument_names(operator)
    for name in _written(operator):
        place = names.index(name)
        yield from tensors_in(args[place] if place < len(args) else kwargs.get(name))


@cache
def _written(operator: Operator) -> tuple[str, ...]:
    schema = schema_of(operator)
    if schema is None:
        return ()
    found = (a for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write)
    return tuple(argument.name for argument in found)


def _write_only(
    operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> set[int | str]:
    """Positions and names of the arguments an operator writes without reading them."""
    found: set[int | str] = set(_outputs(operator))
    name, names = base_name(operator), argument_names(operator)
    overwritten = name in OVERWRITES or (name in SCATTERS and not _adds(name, args, kwargs))
    if overwritten and names:
        found |= {0, names[0]}
    return found


def _adds(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a scatter adds to what is there instead of replacing it."""
    accumulate = {"index_put_": 3, "_index_put_impl_": 3, "put_": 3}.get(name)
    if accumulate is not None:
        given = kwargs.get("accumulate", args[accumulate] if len(args) > accumulate else False)
        return bool(given)
    return name in _ACCUMULATES or (name == "scatter_" and bool(kwargs.get("reduce")))


@cache
def _outputs(operator: Operator) -> frozenset[int | str]:
    schema = schema_of(operator)
    if schema is None:
        return frozenset()
    found = [(place, a.name) for place, a in enumerate(schema.arguments) if a.is_out]
    return frozenset(key for pair in found for key in pair)
