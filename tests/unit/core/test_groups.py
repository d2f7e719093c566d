"""A module's name, class and role in, its group out: the patterns, one real name for each."""

from __future__ import annotations

import pytest

from layerscope.core.groups import module_group
from layerscope.core.roles import Roles
from layerscope.core.vocabulary import GROUPS

ROLES: Roles = {"seen": "vision", "read": "encoder", "said": "decoder", "head": "head"}


@pytest.mark.parametrize(
    ("fqn", "cls", "group"),
    [
        ("seen.rotary_pos_emb", "VisionRotaryEmbedding", "vision.attention"),
        ("seen.layers.0.activation_fn", "GELUActivation", "vision.mlp"),
        ("seen.layers.0.self_attn.q_proj", "Linear", "vision.attention"),
        ("seen.encoder.layers.0.downsample.reduction", "Linear", "vision.conv"),
        ("seen.encoder.layers.0.downsample.norm", "LayerNorm", "vision.norm"),
        ("seen.down.0.block.0", "VQResnetBlock", "vision.conv"),
        ("seen.patch_embedder", "PatchEmbedder", "vision.conv"),
        ("seen.merger.mlp.0", "Linear", "projection"),
        ("seen", "VisionModel", "other"),
        ("said.rotary_emb", "LlamaRotaryEmbedding", "decoder.self_attention"),
        ("said.layers.0.activation_fn", "SiLU", "decoder.ffn"),
        ("said.layers.0.fc1", "Linear", "decoder.ffn"),
        ("said.layers.0.mixer.in_proj", "Linear", "decoder.mixer"),
        ("said.layers.0.conv.conv", "Conv1d", "decoder.mixer"),
        ("said.layers.0.linear_attn.in_proj_qkvz", "Linear", "decoder.self_attention"),
        ("said.layers.0.input_layernorm", "LlamaRMSNorm", "norm"),
        ("said.embed_positions", "LearnedPositionalEmbedding", "embedding"),
        ("said.layers.0.block_moe.experts", "Experts", "decoder.ffn"),
        ("said.layers.0", "LlamaDecoderLayer", "other"),
        ("read.layers.0.activation_fn", "GELUActivation", "encoder.ffn"),
        ("read.rotary_emb", "RotaryEmbedding", "encoder.attention"),
        ("head", "Linear", "lm_head"),
        ("wrapper", "LlavaModel", "other"),
    ],
)
def test_group(fqn: str, cls: str, group: str) -> None:
    assert module_group(fqn, cls, ROLES) == group
    assert group in GROUPS
