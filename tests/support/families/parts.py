"""The pieces that small models are put together from: configs of one or two layers, pixels, prompts.

Sizes are the least that keep a family's structure: images of 32 px in 16 patches, hidden sizes of 32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Built = tuple[Any, dict[str, Any]]
Builder = Callable[[], Built]

WIDTH, VISION_WIDTH, VOCAB = 32, 24, 200
IMAGE, VIDEO, START, END = 190, 191, 192, 193  # token ids that are no text
BATCH, SIDE, PATCHES, TEXT = 2, 32, 16, 6


def built(cls: Any, config: Any, seed: int = 0) -> Any:
    """The model with seeded random weights."""
    torch.manual_seed(seed)
    return cls(config).eval()


def decoder(model_type: str = "llama", **more: Any) -> dict[str, Any]:
    """The config of a small decoder-only language model of two layers."""
    return {
        "model_type": model_type, "vocab_size": VOCAB, "hidden_size": WIDTH, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
        "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    } | more  # fmt: skip


def opt() -> dict[str, Any]:
    """The config of a small OPT, which has names of its own."""
    return {
        "model_type": "opt", "vocab_size": VOCAB, "hidden_size": WIDTH, "ffn_dim": 48,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 512,
        "word_embed_proj_dim": WIDTH, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip


def t5(**more: Any) -> dict[str, Any]:
    """The config of a small T5."""
    return {
        "model_type": "t5", "vocab_size": VOCAB, "d_model": WIDTH, "d_kv": 16, "d_ff": 48,
        "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2, "feed_forward_proj": "gated-gelu",
        "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1,
    } | more  # fmt: skip


def bart(model_type: str = "bart", **more: Any) -> dict[str, Any]:
    """The config of a small BART or one of its kin."""
    return {
        "model_type": model_type, "vocab_size": VOCAB, "d_model": WIDTH, "encoder_layers": 2,
        "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
        "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 128,
        "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2,
        "forced_eos_token_id": None,
    } | more  # fmt: skip


def tower(model_type: str = "", **more: Any) -> dict[str, Any]:
    """The config of a small vision transformer: 16 patches of an image of 32 px."""
    named = {"model_type": model_type} if model_type else {}
    return named | {
        "hidden_size": VISION_WIDTH, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": SIDE, "patch_size": 8,
    } | more  # fmt: skip


def qformer() -> dict[str, Any]:
    """The config of a small Q-Former; every second layer looks at the image."""
    return {
        "vocab_size": VOCAB, "hidden_size": VISION_WIDTH, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 40, "encoder_hidden_size": VISION_WIDTH,
        "max_position_embeddings": 64, "cross_attention_frequency": 2,
    }  # fmt: skip


def pixels(*shape: int) -> torch.Tensor:
    """Seeded pixels; without a shape those of one image a sample."""
    source = torch.Generator().manual_seed(2)
    return torch.randn(*(shape or (BATCH, 3, SIDE, SIDE)), generator=source)


def words(count: int = TEXT, batch: int = BATCH) -> torch.Tensor:
    """Seeded ids of text, shape (batch, count)."""
    return torch.randint(10, 180, (batch, count), generator=torch.Generator().manual_seed(1))


def prompt(image_tokens: int, placeholder: int = IMAGE, batch: int = BATCH) -> torch.Tensor:
    """Two ids of text, the places of an image, the rest of the text."""
    text = words(batch=batch)
    places = torch.full((batch, image_tokens), placeholder)
    return torch.cat([text[:, :2], places, text[:, 2:]], 1)


def with_mask(ids: torch.Tensor, **more: Any) -> dict[str, Any]:
    """A prompt and a mask without padding."""
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)} | more
