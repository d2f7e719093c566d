"""FLOP formulas by operator: torch's own registry plus the attention kernels it leaves out.

Goes in: nothing. Comes out: {operator packet: formula(*args, out_val=..., **kwargs) -> int}, a new
dictionary each time, so that torch's global registry stays as it was.

Convention: 2 FLOP per multiply-accumulate; attention is two batched matmuls over the full score
matrix, causal or masked entries included, because that is what torch's own formulas count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Formula = Callable[..., int]

# Scaled-dot-product kernels absent from `torch.utils.flop_counter.flop_registry` (torch 2.11-2.13).
# Without the first, attention on a CPU counts as 0 FLOPs.
EXTRA_ATTENTION = (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_fused_attention_overrideable",
)


def attention_flops(query: Any, key: Any, value: Any, *_args: Any, **_kwargs: Any) -> int:
    """FLOPs of one fused attention call.

    Args:
        query: (batch, heads, queries, d_qk), a tensor or its shape.
        key: (batch, key heads, keys, d_qk).
        value: (batch, key heads, keys, d_v).

    Returns:
        2·batch·heads·queries·keys·(d_qk + d_v).
    """
    from torch.utils.flop_counter import sdpa_flop_count

    shapes = (tuple(getattr(t, "shape", t)) for t in (query, key, value))
    return int(sdpa_flop_count(*shapes))  # type: ignore[no-untyped-call]


def extra_formulas() -> dict[Any, Formula]:
    """The formulas torch lacks, for the operators that this torch knows."""
    import torch

    return {
        getattr(torch.ops.aten, name): attention_flops
        for name in EXTRA_ATTENTION
        if hasattr(torch.ops.aten, name)
    }


def formulas() -> dict[Any, Formula]:
    """Every formula the counter uses: torch's registry and `extra_formulas()`."""
    from torch.utils.flop_counter import flop_registry

    return {**extra_formulas(), **flop_registry}
