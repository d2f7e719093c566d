"""FLOPs of attention that runs as one operator with its projections, and of flash-attn's operators.

The score matrix counts in full, masked entries included.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerscope.measure.flops.operands import Operands


def _native_multi_head(o: Operands) -> int:
    """MultiheadAttention's fast path: q, k and v projected, attention, the output projected.

    Queries are (batch, length, width), keys and values (batch, keys, width).
    """
    batch, length, width = o.shape("query")
    keys = o.shape("key")[1]
    projections = length * width + 2 * keys * width + length * width
    scores = 2 * length * keys
    return 2 * batch * width * (projections + scores)


def _encoder_layer(o: Operands) -> int:
    """TransformerEncoderLayer's fast path: attention as above, then the feed-forward's two products."""
    batch, length, width = o.shape("src")
    attention = 4 * length * width + 2 * length * length
    feed_forward = math.prod(o.shape("ffn_weight_1")) + math.prod(o.shape("ffn_weight_2"))
    return 2 * batch * (width * attention + length * feed_forward)


def _flash(o: Operands) -> int:
    """`flash_attn`: (batch, length, heads, d), keys and values with fewer heads perhaps."""
    batch, queries, heads, depth = o.shape("q")
    keys, value_depth = o.shape("k")[1], o.shape("v")[-1]
    return 2 * batch * heads * queries * keys * (depth + value_depth)


def _packed_flash(query: str, key: str, value: str, ends: tuple[str, str]) -> Any:
    """Sequences one after another, (tokens, heads, d), which end where `ends` say."""

    def count(o: Operands) -> int | None:
        spans = [o[name] for name in ends]
        if any(span.is_meta for span in spans):
            return None
        lengths = [span.diff().tolist() for span in spans]
        pairs = sum(q * k for q, k in zip(*lengths, strict=True))
        _, heads, depth = o.shape(query)
        return int(2 * heads * pairs * (depth + o.shape(value)[-1]))

    return count


def _cudnn(o: Operands) -> int | None:
    if o.get("cum_seq_q") is not None:
        return None
    batch, heads, queries, depth = o.shape("query")
    return 2 * batch * heads * queries * o.shape("key")[2] * (depth + o.shape("value")[-1])


FORMULAS: dict[str, Callable[[Operands], int | None]] = {
    "_native_multi_head_attention": _native_multi_head,
    "_transformer_encoder_layer_fwd": _encoder_layer,
    "_cudnn_attention_forward": _cudnn,
    "flash_attn::_flash_attn_forward": _flash,
    "flash_attn::_flash_attn_varlen_forward": _packed_flash(
        "q", "k", "v", ("cu_seqlens_q", "cu_seqlens_k")
    ),
    "torch_attn::_varlen_attn": _packed_flash("query", "key", "value", ("cu_seq_q", "cu_seq_k")),
}
