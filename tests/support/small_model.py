"""One layer of everything: an InstructBLIP whose parts compile in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SMALL = """
model_type: instructblip
num_query_tokens: 4
image_token_index: 3
vision_config: {hidden_size: 32, intermediate_size: 48, num_hidden_layers: 1, num_attention_heads: 2,
  image_size: 28, patch_size: 14}
qformer_config: {vocab_size: 64, hidden_size: 24, intermediate_size: 32, num_hidden_layers: 1,
  num_attention_heads: 2, encoder_hidden_size: 32, cross_attention_frequency: 1,
  max_position_embeddings: 64, hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0}
text_config: {model_type: t5, vocab_size: 64, d_model: 16, d_kv: 8, d_ff: 24, num_layers: 1,
  num_decoder_layers: 1, num_heads: 2, feed_forward_proj: gated-gelu, is_encoder_decoder: true,
  decoder_start_token_id: 0, pad_token_id: 0, eos_token_id: 1, dropout_rate: 0.0}
"""

# Two layers of its own text model, whose keys and values have fewer heads than its queries.
SMALL_LLAMA = (
    SMALL.split("text_config:", maxsplit=1)[0]
    + """
text_config: {model_type: llama, vocab_size: 64, hidden_size: 16, intermediate_size: 24,
  num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 64,
  pad_token_id: 0, eos_token_id: 1, bos_token_id: 2}
"""
)


def small_yaml(folder: Path, text: str = SMALL) -> Path:
    """The architecture as a file that `--model` takes."""
    path = folder / "small.yaml"
    path.write_text(text)
    return path


def small_model(folder: Path, text: str = SMALL, seed: int = 0) -> Any:
    """The model with seeded random weights, fp32 on the CPU."""
    from layerscope.workload.architecture import build, find_architecture

    return build(
        find_architecture(str(small_yaml(folder, text))),
        dtype=torch.float32,
        layout="from_pretrained",
        attention="sdpa",
        device="cpu",
        seed=seed,
    )


def small_inputs(batch: int = 2, text: int = 6) -> dict[str, torch.Tensor]:
    """Seeded inputs of exact lengths."""
    source = torch.Generator().manual_seed(1)
    text_ids = torch.randint(5, 60, (batch, text), generator=source)
    ids = torch.cat([torch.full((batch, 4), 3), text_ids], dim=1)
    return {
        "pixel_values": torch.randn(batch, 3, 28, 28, generator=source),
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "qformer_input_ids": text_ids,
        "qformer_attention_mask": torch.ones_like(text_ids),
    }
