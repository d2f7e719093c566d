"""FLOPs of products with a sparse operand: 2 for each stored element and column it meets.

Explicit zeros and, in block formats, the zeros within a block are stored, and so are multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from layerscope.private.tensors import indices_of, plain_layouts, values_of

if TYPE_CHECKING:
    import torch

    from layerscope.measure.flops.operands import Operands


def _stored(tensor: torch.Tensor) -> int:
    import torch

    values = values_of(tensor) if tensor.layout is torch.sparse_coo else tensor.values()
    return int(values.numel())


def _is_sparse(tensor: Any) -> bool:
    return tensor.layout not in plain_layouts()


def _product(first: str, second: str) -> Callable[[Operands], int | None]:
    """A product of a sparse and a dense operand, or of two sparse ones."""

    def count(o: Operands) -> int | None:
        left, right = o[first], o[second]
        if left.is_nested or right.is_nested:
            return None
        if _is_sparse(left) and _is_sparse(right):
            return _both(left, right)
        if _is_sparse(left):
            columns = int(right.shape[-1]) if right.dim() > 1 else 1
            return int(2 * _stored(left) * columns * o.per_product)
        if _is_sparse(right):
            return int(2 * _stored(right) * int(left.shape[-2]) * o.per_product)
        # The operand added to the product is the sparse one; the product itself is dense.
        return int(2 * math.prod(left.shape) * int(right.shape[-1]) * o.per_product)

    return count


def _both(left: torch.Tensor, right: torch.Tensor) -> int | None:
    """Each stored element of a column meets the stored elements of the row with its number."""
    import torch

    if left.layout is not torch.sparse_coo or right.layout is not torch.sparse_coo:
        if not {left.layout, right.layout} <= {torch.sparse_csr, torch.sparse_coo}:
            return None
        left, right = (t.to_sparse() for t in (left, right))
    if left.sparse_dim() != 2 or right.sparse_dim() != 2 or left.is_complex():
        return None
    inner = int(left.shape[1])
    columns = torch.bincount(indices_of(left)[1], minlength=inner)
    rows = torch.bincount(indices_of(right)[0], minlength=inner)
    return 2 * int((columns * rows).sum())


def _sampled(o: Operands) -> int:
    """Only the stored places of `self` are computed."""
    return 2 * _stored(o["self"]) * int(o["mat1"].shape[-1]) * o.per_product


SPARSE: dict[str, Callable[[Operands], int | None]] = {
    "mm": _product("self", "mat2"),
    "bmm": _product("self", "mat2"),
    "mv": _product("self", "vec"),
    "addmm": _product("mat1", "mat2"),
    "addmv": _product("mat", "vec"),
    "baddbmm": _product("batch1", "batch2"),
    "hspmm": _product("mat1", "mat2"),
    "sspaddmm": _product("mat1", "mat2"),
    "_sparse_addmm": _product("mat1", "mat2"),
    "_sparse_sparse_matmul": _product("self", "other"),
    "_sparse_mm_reduce_impl": _product("self", "other"),
    "sparse_sampled_addmm": _sampled,
}
