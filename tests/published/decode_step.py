"""The lines of one decode step at batch 1: which layers each holds, and the time of its weights."""

from __future__ import annotations

from collections.abc import Callable

Row = dict[str, str]
# flan-t5-xl: 24 decoder blocks; d_model = heads x d_kv = 2048, d_ff = 5120, 32,128 words.
BLOCKS, WIDE, DEEP, WORDS = 24, 2048, 5120, 32_128
COPY_BYTES_PER_S = 4.15e12  # as the page says


def _ends(*names: str) -> Callable[[Row], bool]:
    return lambda row: row["layer"].rpartition(".")[2] in names


def _between(attention: str, group: str) -> Callable[[Row], bool]:
    """Attention itself and what its block does around it, without the products."""
    products = _ends("q", "k", "v", "o")
    return lambda row: row["group"] == group and not products(row)


_NAMED: dict[str, Callable[[Row], bool]] = {
    "T5's self-attention between the products": _between("SelfAttention", "decoder.self_attention"),
    "`q`, also of cross-attention; `k`, `v`": _ends("q", "k", "v"),
    "`o`, of both": _ends("o"),
    "`wi_0`, `wi_1`": _ends("wi_0", "wi_1"),
    "`wo`, fp32": _ends("wo"),
    "cross-attention between the products": _between("EncDecAttention", "decoder.cross_attention"),
    "norms": lambda row: row["group"] == "norm",
    "`lm_head`": _ends("lm_head"),
}


def _rest(row: Row) -> bool:
    return not any(belongs(row) for belongs in _NAMED.values())


STEP: dict[str, Callable[[Row], bool]] = {**_NAMED, "the rest": _rest}

_BYTES = {
    "`q`, also of cross-attention; `k`, `v`": 4 * WIDE * WIDE * 2 * BLOCKS,
    "`o`, of both": 2 * WIDE * WIDE * 2 * BLOCKS,
    "`wi_0`, `wi_1`": 2 * WIDE * DEEP * 2 * BLOCKS,
    "`wo`, fp32": WIDE * DEEP * 4 * BLOCKS,
    "`lm_head`": WIDE * WORDS * 2,
}


def read_us(label: str) -> float | None:
    """Time to read this line's weights once; None where it has none worth the name."""
    return _BYTES[label] / COPY_BYTES_PER_S * 1e6 if label in _BYTES else None
