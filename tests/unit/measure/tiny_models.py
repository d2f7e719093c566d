"""The smallest model the counting tests run: an InstructBLIP with T5 and seeded weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Sizes:
    """Numbers of the small model; the arithmetic in the tests is written with these."""

    image: int = 32
    patch: int = 8
    hidden: int = 32
    vision_ffn: int = 48
    vision_layers: int = 2
    queries: int = 4
    q_hidden: int = 24
    q_ffn: int = 40
    q_layers: int = 2
    d_model: int = 16
    d_kv: int = 8
    heads: int = 2
    d_ff: int = 28
    t5_layers: int = 2
    vocab: int = 50

    @property
    def patches(self) -> int:
        """Patches of one image, class token not included."""
        return (self.image // self.patch) ** 2


SIZES = Sizes()
IMAGE_TOKEN = 49


def instructblip(*, seed: int = 0, attention: str = "sdpa", device: str = "cpu") -> Any:
    """An untrained InstructBLIP with a T5, in eval mode."""
    from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration

    s = SIZES
    torch.manual_seed(seed)
    config = InstructBlipConfig(
        vision_config={
            "hidden_size": s.hidden,
            "intermediate_size": s.vision_ffn,
            "num_hidden_layers": s.vision_layers,
            "num_attention_heads": s.heads,
            "image_size": s.image,
            "patch_size": s.patch,
            "initializer_range": 0.02,
        },
        qformer_config={
            "vocab_size": s.vocab,
            "hidden_size": s.q_hidden,
            "num_hidden_layers": s.q_layers,
            "num_attention_heads": s.heads,
            "intermediate_size": s.q_ffn,
            "encoder_hidden_size": s.hidden,
            "cross_attention_frequency": 2,
            "max_position_embeddings": 32,
        },
        text_config={
            "model_type": "t5",
            "vocab_size": s.vocab,
            "d_model": s.d_model,
            "d_kv": s.d_kv,
            "d_ff": s.d_ff,
            "num_layers": s.t5_layers,
            "num_decoder_layers": s.t5_layers,
            "num_heads": s.heads,
            "feed_forward_proj": "gated-gelu",
            "decoder_start_token_id": 0,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "is_encoder_decoder": True,
        },
        num_query_tokens=s.queries,
        image_token_index=IMAGE_TOKEN,
    )
    config.image_token_id = IMAGE_TOKEN
    config._attn_implementation = attention
    with torch.device(device):
        return InstructBlipForConditionalGeneration(config).eval()


def inputs(*, batch: int = 1, text: int = 6, q_text: int = 5) -> dict[str, torch.Tensor]:
    """Seeded inputs of exact lengths; the prompt is the query tokens and then `text` tokens."""
    s = SIZES
    source = torch.Generator().manual_seed(1)
    ids = torch.randint(2, 40, (batch, text), generator=source)
    ids = torch.cat([torch.full((batch, s.queries), IMAGE_TOKEN), ids], dim=1)
    q_ids = torch.randint(2, 40, (batch, q_text), generator=source)
    return {
        "pixel_values": torch.randn(batch, 3, s.image, s.image, generator=source),
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "qformer_input_ids": q_ids,
        "qformer_attention_mask": torch.ones_like(q_ids),
    }


def generate(model: Any, given: dict[str, torch.Tensor], new_tokens: int) -> Any:
    """A greedy generate() of exactly `new_tokens`."""
    return model.generate(
        **given, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False
    )
