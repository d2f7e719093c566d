"""Which places of its first argument a lookup reads or a scatter writes, counted from the indices.

A place that is looked up twice counts once. Where the indices hold no values (torch's meta device),
the most that they can touch counts: as many places as there are indices, at most the table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerscope.measure.flops.operands import Operands, named_operands
from layerscope.measure.flops.operator_kinds import LOOKUPS, SCATTERS
from layerscope.measure.flops.regions import LARGEST_MAP, bytes_in, region_of
from layerscope.measure.flops.tensors import tensors_in
from layerscope.private.tensors import is_fake

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Touched:
    """Some places of a table: what tells two of them apart, their bytes, and which rows they are.

    Attributes:
        rows: numbers of whole rows (dimension 0); None where single elements are touched or the
            indices have no values.
        row_bytes: bytes of one row.
    """

    key: Any
    size: int
    rows: frozenset[int] | None = None
    row_bytes: int = 0


def touched_by(
    name: str, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> Touched | None:
    """What a lookup or a scatter touches of its first argument; None for all other operators."""
    if name not in LOOKUPS | SCATTERS:
        return None
    operands = named_operands(operator, args, kwargs, out)
    table = next(tensors_in(args[:1] or tuple(kwargs.values())), None)
    if table is None or _is_hidden(table) or not table.numel():
        return None
    dim, index = _rows_index(name, operands)
    if index is not None:
        return _rows(table, dim, index)
    places = _elements(name, operands, table)
    whole = bytes_in([region_of(table)])
    size = min(whole, places * table.element_size())
    return Touched(("elements", name, size), size)


def _rows_index(name: str, o: Operands) -> tuple[int, Any]:
    """(dimension, indices) of operators that touch whole rows of one dimension."""
    if name in ("embedding", "_embedding_bag", "_embedding_bag_forward_only", "embedding_renorm_"):
        return 0, o["indices"]
    if name in ("index_select", "index_copy_", "index_fill_", "index_add_", "index_reduce_"):
        return int(o["dim"]), o["index"]
    if name in ("index", "_unsafe_index", "index_put_", "_index_put_impl_"):
        given = [(dim, t) for dim, t in enumerate(o["indices"]) if t is not None]
        if len(given) == 1 and given[0][1].dtype not in _masks():
            return given[0]
    return 0, None


def _rows(table: torch.Tensor, dim: int, index: torch.Tensor) -> Touched:
    if not table.dim():
        return Touched(("rows", 0), table.element_size())
    length = int(table.shape[dim])
    found = _distinct(index, length)
    number = min(int(index.numel()), length) if found is None else len(found)
    row_bytes = bytes_in([region_of(table.select(dim, 0))]) if length else 0
    whole = dim % table.dim() == 0
    return Touched(
        key=("rows", dim, found if found is not None else number),
        size=number * row_bytes,
        rows=found if whole else None,
        row_bytes=row_bytes,
    )


def _distinct(index: torch.Tensor, length: int) -> frozenset[int] | None:
    if not has_values(index):
        return None
    import torch

    numbers = index.detach().to("cpu").reshape(-1)
    return frozenset(n % length if length else n for n in torch.unique(numbers).tolist())


def _elements(name: str, o: Operands, table: torch.Tensor) -> int:
    """How many single elements are touched."""
    if name.startswith("nll_loss"):
        return int(o["target"].numel())
    if name in ("masked_select", "masked_scatter_"):
        return int(o.result.numel()) if name == "masked_select" else _marked(o["mask"], table)
    if name in ("take", "put_"):
        return _few(o["index"], int(table.numel()))
    if name in ("index", "_unsafe_index", "index_put_", "_index_put_impl_"):
        return _indexed(o["indices"], table)
    index = o["index"]
    return _along(table, int(o["dim"]), index)


def _few(index: torch.Tensor, length: int) -> int:
    found = _distinct(index, length)
    return min(int(index.numel()), length) if found is None else len(found)


def _marked(mask: torch.Tensor, table: torch.Tensor) -> int:
    if not has_values(mask):
        return int(table.numel())
    return int(mask.to("cpu").expand(table.shape).count_nonzero())


def _indexed(indices: Any, table: torch.Tensor) -> int:
    """Places that several index tensors, or masks, name together."""
    given = [t for t in indices if t is not None]
    if table.numel() <= LARGEST_MAP and all(has_values(t) for t in given):
        import torch

        marks = torch.zeros(table.shape, dtype=torch.bool, device="cpu")
        marks[tuple(slice(None) if t is None else t.to("cpu") for t in indices)] = True
        return int(marks.count_nonzero())
    if any(t.dtype in _masks() for t in given):
        return int(table.numel())
    shape = math.prod(max(sizes) for sizes in _aligned([tuple(t.shape) for t in given]))
    rest = (n for dim, n in enumerate(table.shape) if dim >= len(indices) or indices[dim] is None)
    return int(shape * math.prod(rest))


def _aligned(shapes: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Dimension by dimension, as they broadcast."""
    longest = max(map(len, shapes), default=0)
    padded = [(1,) * (longest - len(shape)) + shape for shape in shapes]
    return list(zip(*padded, strict=True))


def _along(table: torch.Tensor, dim: int, index: torch.Tensor) -> int:
    """Places that `gather` reads and `scatter_` writes: one for each index, along one dimension."""
    if table.numel() > LARGEST_MAP or not has_values(index) or not table.dim():
        return min(int(index.numel()), int(table.numel()))
    import torch

    marks = torch.zeros(table.shape, dtype=torch.bool, device="cpu")
    marks.scatter_(dim, index.to("cpu"), True)
    return int(marks.count_nonzero())


def has_values(tensor: torch.Tensor) -> bool:
    """Whether a tensor's elements can be read: not on the meta device, not a fake one."""
    return not tensor.is_meta and not is_fake(tensor)


def _is_hidden(tensor: torch.Tensor) -> bool:
    import torch

    return tensor.layout is not torch.strided or tensor.is_nested


def _masks() -> tuple[Any, ...]:
    import torch

    return torch.bool, torch.uint8
