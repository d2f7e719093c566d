"""FLOPs of one executed operator: torch's registry, and our formulas for what it leaves out.

Convention: 2 FLOP per multiply-accumulate of real numbers, 8 of complex ones (4 real products and 4
real additions). Attention is two batched products over the full score matrix, causal or masked
entries included, because that is what torch's own formulas count; of a sparse operand only the
stored elements count. A formula that someone registered with
`torch.utils.flop_counter.register_flop_formula` goes before ours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from layerscope.measure.flops import attention_formulas, product_formulas, recurrent_formulas
from layerscope.measure.flops.operands import Operands, named_operands
from layerscope.measure.flops.operator_kinds import base_name
from layerscope.measure.flops.sparse_formulas import SPARSE
from layerscope.private.names import NoSuchName
from layerscope.private.operators import (
    is_operator,
    packet_of,
    registered_formulas,
    triton_kernel,
)

Formula = Callable[..., int]

# Scaled-dot-product kernels. The first two are absent from `torch.utils.flop_counter.flop_registry`
# (torch 2.11-2.13): attention on a CPU counts as 0 FLOPs there. Its formula of the others (torch 2.11)
# ends in an error where keys have fewer heads than queries.
ATTENTION = (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_fused_attention_overrideable",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_flash_attention",
)

OURS: dict[str, Callable[[Operands], int | None]] = {
    **product_formulas.FORMULAS,
    **recurrent_formulas.FORMULAS,
    **attention_formulas.FORMULAS,
}


def attention_flops(query: Any, key: Any, value: Any, *_args: Any, **_kwargs: Any) -> int:
    """FLOPs of one fused attention call.

    Args:
        query: (batch, heads, queries, d_qk), a tensor or its shape.
        key: (batch, key heads, keys, d_qk).
        value: (batch, key heads, keys, d_v).

    Returns:
        2·batch·heads·queries·keys·(d_qk + d_v).
    """
    batch, heads, queries, depth = _shape(query)
    value_depth = _shape(value)[-1]
    return 2 * batch * heads * queries * _shape(key)[2] * (depth + value_depth)


def extra_formulas() -> dict[Any, Formula]:
    """The attention formulas that torch lacks, for the operators that this torch knows.

    One that counts fewer key heads, torch's or somebody's, is not replaced.
    """
    import torch

    registered = registered_formulas()
    known = [getattr(torch.ops.aten, name) for name in ATTENTION if hasattr(torch.ops.aten, name)]
    return {op: attention_flops for op in known if not _counts_groups(registered.get(op))}


def _counts_groups(formula: Formula | None) -> bool:
    """Whether a formula takes two query heads that share one key head."""
    if formula is None:
        return False
    query, key = (1, 2, 1, 8), (1, 1, 1, 8)
    try:
        formula(query, key, key, out_val=None)
    except Exception:  # whatever it raises, it would raise it on a model with such heads
        return False
    return True


def _shape(operand: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in getattr(operand, "shape", operand))


class Formulas:
    """Every formula the counter uses, as registered when this was made."""

    def __init__(self) -> None:
        self._registered: dict[Any, Formula] = {**registered_formulas(), **extra_formulas()}

    def know(self, operator: Any, kwargs: dict[str, Any]) -> bool:
        """Whether a formula stands for this operator."""
        name = name_of(operator)
        return name in OURS or name in SPARSE or self._of_torch(operator, kwargs) is not None

    def as_torch(
        self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> int:
        """What torch's own counter makes of this call (attention on a CPU included); 0: nothing.

        It takes sparse operands for full ones and complex numbers for real ones.
        """
        registered = self._registered.get(packet_of(operator))
        try:
            return 0 if registered is None else int(registered(*args, **kwargs, out_val=out))
        except Exception:  # torch's counter would end in this; ours has counted the call already
            return 0

    def count(
        self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> int | None:
        """FLOPs of one call; None where the formula cannot know them (shapes hidden, values absent).

        Whatever a formula raises means the same: it met operands that it was not written for.
        """
        operands = named_operands(operator, args, kwargs, out)
        name = name_of(operator)
        try:
            if operands.hidden:
                sparse = SPARSE.get(name)
                return None if sparse is None else sparse(operands)
            registered = self._of_torch(operator, kwargs)
            if registered is not None:
                flops: int | None = int(registered(*args, **kwargs, out_val=out))
            else:
                flops = OURS[name](operands) if name in OURS else None
        except Exception:
            return None
        if flops is None:
            return None
        # A formula of someone's own operator says what its FLOPs are; aten's count products.
        is_aten = getattr(operator, "namespace", "") == "aten"
        return flops * operands.per_product if is_aten else flops

    def _of_torch(self, operator: Any, kwargs: dict[str, Any]) -> Formula | None:
        found = self._registered.get(packet_of(operator)) or self._registered.get(
            _functional(operator)
        )
        return found or self._registered.get(_triton_function(operator, kwargs))


def name_of(operator: Any) -> str:
    """`mm`, `addmm` for `addmm_`, `mm` for `mm.out`; other namespaces keep theirs; a HOP its name."""
    if not is_operator(operator):
        return str(operator)
    name = base_name(operator)
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


@cache
def _functional(operator: Any) -> Any:
    """`addmm` for `addmm_`, whose formula is the same and which torch's registry lacks."""
    import torch

    if not is_operator(operator) or operator.namespace != "aten":
        return None
    return getattr(torch.ops.aten, name_of(operator), None)


def label_of(operator: Any, kwargs: dict[str, Any]) -> str:
    """What a list calls an operator; a Triton kernel by its function."""
    function = _triton_function(operator, kwargs)
    return f"triton {function.fn.__name__}" if function is not None else str(operator)


@cache
def _triton_wrappers() -> frozenset[str]:
    return frozenset({"triton_kernel_wrapper_mutation", "triton_kernel_wrapper_functional"})


def _triton_function(operator: Any, kwargs: dict[str, Any]) -> Any:
    """The function of a Triton kernel that a higher-order operator launches; None for all else."""
    if str(operator) not in _triton_wrappers() or "kernel_idx" not in kwargs:
        return None
    try:
        kernel = triton_kernel(kwargs["kernel_idx"])
        from triton.runtime.jit import JITFunction  # type: ignore[import-not-found,unused-ignore]
    except (ImportError, NoSuchName):
        return None
    while not isinstance(kernel, JITFunction):
        kernel = getattr(kernel, "fn", None)
        if kernel is None:
            return None
    return kernel
