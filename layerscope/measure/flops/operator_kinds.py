"""What an operator without a FLOP formula does: its name and tags in, its `Kind` out."""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

from layerscope.measure.flops import product_free

if TYPE_CHECKING:
    from layerscope.private.operators import Operator


class Kind(Enum):
    """What an operator without a FLOP formula does.

    ARITHMETIC computes and holds no product; of UNKNOWN ones that is not known.
    """

    ARITHMETIC = "arithmetic"
    MOVEMENT = "movement"
    VIEW = "view"
    UNKNOWN = "unknown"


# Allocate without writing, or only read a tensor's description.
_FREE = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"})
_FREE |= {"size", "sym_size", "stride", "sym_stride", "storage_offset", "sym_storage_offset"}
_FREE |= {"numel", "sym_numel", "dim", "is_contiguous", "sym_is_contiguous", "prim::device"}
_FREE |= {"is_strides_like_format", "is_non_overlapping_and_dense", "prim::layout"}
_FREE |= {"resize_", "set_", "detach", "alias", "lift", "lift_fresh", "_unsafe_view"}
_FREE |= {"unsafe_split", "unsafe_split_with_sizes", "_nested_tensor_size", "_fused_sdp_choice"}
_FREE |= {"as_strided_", "detach_", "squeeze_", "t_", "transpose_", "unsqueeze_", "swapdims_"}

# Read no more of their (first) source than they look up.
LOOKUPS = frozenset({"embedding", "index", "index_select", "gather", "take", "masked_select"})
LOOKUPS |= {"_embedding_bag", "_embedding_bag_forward_only", "_unsafe_index"}
LOOKUPS |= {"nll_loss_forward", "nll_loss2d_forward"}
# Write some places of their first argument and leave the rest as it is.
SCATTERS = frozenset({"index_put_", "_index_put_impl_", "index_copy_", "index_fill_", "scatter_"})
SCATTERS |= {"masked_scatter_", "put_", "index_add_", "index_reduce_", "scatter_add_"}
SCATTERS |= {"scatter_reduce_", "embedding_renorm_"}
# Write their first argument without reading it.
OVERWRITES = frozenset({"copy_", "fill_", "zero_", "uniform_", "normal_", "random_", "bernoulli_"})
OVERWRITES |= {"exponential_", "cauchy_", "geometric_", "log_normal_"}

_MOVES = frozenset({"clone", "copy", "_to_copy", "cat", "stack", "repeat", "roll", "flip"})
_MOVES |= {"constant_pad_nd", "masked_fill", "masked_fill_", "where", "tril", "triu", "tril_"}
_MOVES |= {"index_put", "index_copy", "scatter", "masked_scatter", "slice_scatter"}
_MOVES |= {"select_scatter", "index_fill", "put", "_unsafe_index_put"}
_MOVES |= {"full", "full_like", "ones", "ones_like", "zeros", "zeros_like", "arange", "fill"}
_MOVES |= {"new_full", "new_ones", "new_zeros", "scalar_tensor", "_local_scalar_dense", "nonzero"}
_MOVES |= {"triu_", "split_with_sizes_copy", "_pin_memory", "eye"}
_MOVES |= {"embedding", "index", "index_select", "gather", "take", "masked_select"}
_MOVES |= {"_unsafe_index", "index_put_", "_index_put_impl_", "index_copy_", "index_fill_"}
_MOVES |= {"scatter_", "masked_scatter_", "put_"}
_MOVES |= OVERWRITES


@cache
def base_name(operator: Operator) -> str:
    """`mm` for `aten.mm.default`; operators outside `aten` keep their namespace."""
    namespace, _, name = str(operator).partition(".")
    name = name.partition(".")[0]
    return name if namespace == "aten" else f"{namespace}::{name}"


@cache
def kind_of(operator: Operator) -> Kind:
    """Whether an operator computes, only moves data, moves nothing, or may hold products."""
    name = base_name(operator)
    if name in _FREE or getattr(operator, "is_view", False):
        return Kind.VIEW
    if name in _MOVES:
        return Kind.MOVEMENT
    return Kind.ARITHMETIC if _holds_no_product(operator, name) else Kind.UNKNOWN


def _holds_no_product(operator: Operator, name: str) -> bool:
    namespace, outside, _ = name.partition("::")
    if outside and (namespace in product_free.NAMESPACES or name in product_free.OTHERS):
        return True
    plain = _without_in_place(name)
    return (not outside and plain in product_free.ATEN) or _is_tagged(operator, plain)


def _without_in_place(name: str) -> str:
    """`add` for `add_`: torch tags the functional form alone."""
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def _is_tagged(operator: Operator, plain: str) -> bool:
    """Whether torch, or who registered it, tags the operator as pointwise or as a reduction."""
    import torch

    wanted = {torch.Tag.pointwise, getattr(torch.Tag, "reduction", torch.Tag.pointwise)}
    if wanted & set(getattr(operator, "tags", ())):
        return True
    namespace = getattr(operator, "namespace", "aten")
    functional = getattr(getattr(torch.ops, namespace), plain, None)
    if functional is None or not hasattr(functional, "overloads"):
        return False
    return any(wanted & set(getattr(functional, o).tags) for o in functional.overloads())
