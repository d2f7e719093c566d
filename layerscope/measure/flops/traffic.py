"""What one executed operator moves: its schema and tensors go in, its kind and bytes come out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    Operator = torch._ops.OpOverload


class Kind(Enum):
    """What an operator without a FLOP formula does."""

    ARITHMETIC = "arithmetic"
    MOVEMENT = "movement"
    VIEW = "view"


# Allocate without writing, or only read a tensor's description.
_FREE = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"})
_FREE |= {"size", "sym_size", "stride", "sym_stride", "storage_offset", "sym_storage_offset"}
_FREE |= {"numel", "sym_numel", "dim", "is_contiguous", "sym_is_contiguous", "prim::device"}
_FREE |= {"is_strides_like_format", "is_non_overlapping_and_dense", "prim::layout"}
_FREE |= {"resize_", "set_", "detach", "alias", "lift", "lift_fresh", "_unsafe_view"}
# Read no more of their (first) source than they return.
_LOOKUPS = frozenset({"embedding", "index", "index_select", "gather", "take", "take_along_dim"})
# Write their first argument without reading it.
_OVERWRITES = frozenset({"copy_", "fill_", "zero_", "uniform_", "normal_", "random_", "bernoulli_"})
_MOVES = frozenset({"clone", "copy", "_to_copy", "cat", "stack", "repeat", "roll", "flip"})
_MOVES |= {"constant_pad_nd", "masked_fill", "masked_fill_", "where", "tril", "triu", "tril_"}
_MOVES |= {"index_put", "index_copy", "scatter", "masked_scatter", "slice_scatter"}
_MOVES |= {"select_scatter", "index_fill_"}
# Write one slice of their first argument, as much as their last tensor holds (a static KV cache).
_SCATTERS = frozenset({"index_put_", "index_copy_", "scatter_", "masked_scatter_"})
_MOVES |= {"full", "full_like", "ones", "ones_like", "zeros", "zeros_like", "arange", "fill"}
_MOVES |= {"new_full", "new_ones", "new_zeros", "scalar_tensor", "_local_scalar_dense", "nonzero"}
_MOVES |= {"triu_", "masked_select", "split_with_sizes_copy", "_pin_memory", "eye"}
_MOVES |= _LOOKUPS | _OVERWRITES | _SCATTERS


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in an operator's arguments or results, lists and dictionaries opened."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)


def distinct_bytes(tensor: torch.Tensor) -> int:
    """Bytes of the distinct elements of a tensor: an expanded dimension (stride 0) counts once."""
    import torch

    if tensor.layout is not torch.strided:
        return int(tensor.numel()) * tensor.element_size()
    elements = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= 1 if stride == 0 and size else size
    return int(elements) * tensor.element_size()


def dtype_name(tensor: torch.Tensor) -> str:
    """`float16` for `torch.float16`."""
    return str(tensor.dtype).removeprefix("torch.")


def storage_id(tensor: torch.Tensor) -> int:
    """Which storage a tensor looks at; views of one tensor share it. 0 for tensors without one."""
    import torch

    return int(tensor.untyped_storage()._cdata) if tensor.layout is torch.strided else 0


@cache
def base_name(operator: Operator) -> str:
    """`mm` for `aten.mm.default`; operators outside `aten` keep their namespace."""
    namespace, _, name = str(operator).partition(".")
    name = name.partition(".")[0]
    return name if namespace == "aten" else f"{namespace}::{name}"


def kind_of(operator: Operator) -> Kind:
    """Whether an operator computes, only moves data, or moves nothing.

    An unknown operator counts as arithmetic: it is then listed as uncounted, not passed over.
    """
    name = base_name(operator)
    if name in _FREE or getattr(operator, "is_view", False):
        return Kind.VIEW
    return Kind.MOVEMENT if name in _MOVES else Kind.ARITHMETIC


@cache
def _write_only(operator: Operator) -> frozenset[int | str]:
    """Positions and names of the arguments an operator writes without reading them."""
    schema = getattr(operator, "_schema", None)
    if schema is None:
        return frozenset()
    found: set[int | str] = set()
    for position, argument in enumerate(schema.arguments):
        first_overwritten = position == 0 and base_name(operator) in _OVERWRITES | _SCATTERS
        if argument.is_out or first_overwritten:
            found.update((position, argument.name))
    return frozenset(found)


def reads(
    operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> list[tuple[torch.Tensor, int]]:
    """The tensors an operator reads, each with the bytes it reads of it."""
    skipped = _write_only(operator)
    named: Iterable[tuple[int | str, Any]] = (*enumerate(args), *kwargs.items())
    sources = [t for key, value in named if key not in skipped for t in tensors_in(value)]
    found = [(tensor, distinct_bytes(tensor)) for tensor in sources]
    if base_name(operator) in _LOOKUPS and found:
        returned = sum(distinct_bytes(t) for t in tensors_in(result))
        found[0] = (found[0][0], min(found[0][1], returned))
    return found


def writes(
    operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> list[tuple[torch.Tensor, int]]:
    """The tensors an operator writes, each with the bytes it writes."""
    name = base_name(operator)
    if name == "_local_scalar_dense":
        return []
    found = [(tensor, distinct_bytes(tensor)) for tensor in tensors_in(result)]
    if name in _SCATTERS and found:
        source = list(tensors_in((args, kwargs)))[-1]
        found[0] = (found[0][0], min(found[0][1], distinct_bytes(source)))
    return found
