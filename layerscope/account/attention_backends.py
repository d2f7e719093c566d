"""Operators and kernels by layer in, the attention that each layer really ran out.

`sdpa` asks for scaled-dot-product attention; which kernel that is, torch decides call by call from
dtype, shape and mask. The operator that it dispatched to says so, and in a replayed CUDA graph, where
no operator runs, the kernel's own name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache

from layerscope.records.tables import AttentionRow, KernelRow, OperatorRow

_OPERATORS = {
    "aten::_scaled_dot_product_cudnn_attention": "cuDNN",
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash (CPU)",
    "aten::_scaled_dot_product_efficient_attention": "efficient",
    "aten::_scaled_dot_product_attention_math": "math",
    "aten::_scaled_dot_product_fused_attention_overrideable": "vendor's",
    "flash_attn::_flash_attn_forward": "flash-attn",
    "flash_attn::_flash_attn_varlen_forward": "flash-attn",
}
# Only what a call of attention launches once; the reduction after a split has another name.
_KERNELS = (
    (re.compile(r"cudnn.*(sdpa|fmha|mha)", re.IGNORECASE), "cuDNN"),
    (re.compile(r"\bflash_fwd(_splitkv)?_kernel\b|cutlass.*FlashAttnFwd"), "flash"),
    (re.compile(r"fmha_cutlassF|attention_kernel_batched", re.IGNORECASE), "efficient"),
)


@cache
def _backend_of(kernel: str) -> str | None:
    """The backend that a kernel's name tells; a trace has thousands of rows and few names."""
    return next((name for mark, name in _KERNELS if mark.search(kernel)), None)


def attention_backends(
    operators: Sequence[OperatorRow], kernels: Sequence[KernelRow]
) -> tuple[AttentionRow, ...]:
    """(layer, phase, backend, calls), in the tables' order; layers that ran none have no row."""
    calls: Counter[tuple[str, str, str]] = Counter()
    for row in operators:
        backend = _OPERATORS.get(row.operator)
        if backend is not None:
            calls[row.layer, row.phase, backend] += row.calls
    told = {(layer, phase) for layer, phase, _ in calls}
    for kernel in kernels:
        if (kernel.layer, kernel.phase) in told:
            continue
        backend = _backend_of(kernel.kernel)
        if backend is not None:
            calls[kernel.layer, kernel.phase, backend] += kernel.count
    rows = [AttentionRow(*key, count) for key, count in calls.items()]
    return tuple(sorted(rows, key=lambda row: (row.phase, row.layer, row.backend)))
