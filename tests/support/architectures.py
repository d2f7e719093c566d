"""Small vision-language models as their config.json would say them, for `--weights random`."""

from __future__ import annotations

from typing import Any

IMAGE = 990  # the image token's id, in a vocabulary of 1,000
_LLAMA: dict[str, Any] = {
    "model_type": "llama", "vocab_size": 1000, "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 2048, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_TOWER: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "image_size": 56, "patch_size": 14,
}  # fmt: skip
_CLIP = {**_TOWER, "model_type": "clip_vision_model", "projection_dim": 32}
_SIGLIP = {**_TOWER, "model_type": "siglip_vision_model", "vision_use_head": False}
_QFORMER: dict[str, Any] = {
    "vocab_size": 600, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "encoder_hidden_size": 32, "cross_attention_frequency": 2,
}  # fmt: skip
_PINPOINTS = [[56, 112], [112, 56], [112, 112]]
_QWEN_TEXT = {**_LLAMA, "hidden_size": 32}
_QWEN_IDS = {
    "image_token_id": IMAGE, "video_token_id": 991, "vision_start_token_id": 992,
    "vision_end_token_id": 993,
}  # fmt: skip


def _qwen(kind: str, sections: list[int], vision: dict[str, Any], **more: Any) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": sections}
    text = {**_QWEN_TEXT, "model_type": f"{kind}_text", "rope_parameters": rope, **more}
    for key in ("eos_token_id", "bos_token_id"):
        text.pop(key)
    return {"model_type": kind, **_QWEN_IDS, "text_config": text, "vision_config": vision}


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llava": {
        "model_type": "llava", "image_token_index": IMAGE, "tie_word_embeddings": False,
        "text_config": _LLAMA, "vision_config": _CLIP,
    },
    "llava_next": {
        "model_type": "llava_next", "image_token_index": IMAGE, "text_config": _LLAMA,
        "vision_config": _CLIP, "image_grid_pinpoints": _PINPOINTS,
    },
    "llava_onevision": {
        "model_type": "llava_onevision", "image_token_index": IMAGE, "video_token_index": 991,
        "text_config": {**_LLAMA, "model_type": "qwen2"}, "vision_config": _SIGLIP,
        "image_grid_pinpoints": _PINPOINTS,
    },
    "qwen2_5_vl": _qwen(
        "qwen2_5_vl", [1, 1, 2],
        {
            "model_type": "qwen2_5_vl", "depth": 2, "hidden_size": 32, "out_hidden_size": 32,
            "num_heads": 4, "intermediate_size": 64, "patch_size": 14, "spatial_merge_size": 2,
            "temporal_patch_size": 2, "window_size": 56, "fullatt_block_indexes": [1],
        },
    ),
    "qwen3_vl": _qwen(
        "qwen3_vl", [2, 1, 1],
        {
            "model_type": "qwen3_vl", "depth": 2, "hidden_size": 32, "out_hidden_size": 32,
            "num_heads": 4, "intermediate_size": 64, "patch_size": 16, "spatial_merge_size": 2,
            "temporal_patch_size": 2, "deepstack_visual_indexes": [0, 1],
            "num_position_embeddings": 64,
        },
        head_dim=8,
    ),
    "idefics3": {
        "model_type": "idefics3", "image_token_id": IMAGE, "scale_factor": 2,
        "text_config": _LLAMA, "vision_config": {**_TOWER, "model_type": "idefics3_vision"},
    },
    "smolvlm": {
        "model_type": "smolvlm", "image_token_id": IMAGE, "scale_factor": 2,
        "text_config": _LLAMA, "vision_config": {**_TOWER, "model_type": "smolvlm_vision"},
    },
    "paligemma2": {
        "model_type": "paligemma", "image_token_index": IMAGE, "projection_dim": 32,
        "hidden_size": 32,
        "text_config": {**_LLAMA, "model_type": "gemma2", "head_dim": 8, "sliding_window": 64},
        "vision_config": _SIGLIP,
    },
    "gemma3": {
        "model_type": "gemma3", "image_token_index": IMAGE, "boi_token_index": 991,
        "eoi_token_index": 992, "mm_tokens_per_image": 4,
        "text_config": {**_LLAMA, "model_type": "gemma3_text", "head_dim": 8, "sliding_window": 16},
        "vision_config": _SIGLIP,
    },
    "internvl": {
        "model_type": "internvl", "image_token_id": IMAGE, "downsample_ratio": 0.5,
        "text_config": {**_LLAMA, "model_type": "qwen2"},
        "vision_config": {
            **_TOWER, "model_type": "internvl_vision", "image_size": [56, 56],
            "patch_size": [14, 14],
        },
    },
    "blip2": {
        "model_type": "blip-2", "image_token_index": IMAGE, "num_query_tokens": 8,
        "qformer_config": {**_QFORMER, "model_type": "blip_2_qformer"},
        "text_config": {
            "model_type": "opt", "vocab_size": 1000, "hidden_size": 32, "ffn_dim": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512,
            "word_embed_proj_dim": 32,
        },
        "vision_config": {**_TOWER, "model_type": "blip_2_vision_model"},
    },
    "florence2": {
        "model_type": "florence2", "image_token_id": IMAGE,
        "vision_config": {
            "model_type": "florence_vision", "embed_dim": [16, 32, 48, 64],
            "num_heads": [2, 4, 4, 4], "num_groups": [2, 4, 4, 4], "depths": [1, 1, 1, 1],
            "window_size": 4, "projection_dim": 32, "patch_size": [7, 3, 3, 3],
            "patch_stride": [4, 2, 2, 2], "max_temporal_embeddings": 4,
            "max_position_embeddings": 10,
        },
        "text_config": {
            "model_type": "bart", "vocab_size": 1000, "d_model": 32, "encoder_layers": 1,
            "decoder_layers": 1, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 512,
            "decoder_start_token_id": 2,
        },
    },
    "mistral3": {
        "model_type": "mistral3", "image_token_index": IMAGE, "spatial_merge_size": 2,
        "text_config": {**_LLAMA, "model_type": "mistral", "head_dim": 8},
        "vision_config": {
            **_TOWER, "model_type": "pixtral", "image_size": 112,
        },
    },
    "aya_vision": {
        "model_type": "aya_vision", "image_token_index": IMAGE, "downsample_factor": 2,
        "adapter_layer_norm_eps": 1e-6,
        "text_config": {**_LLAMA, "model_type": "cohere2", "sliding_window": 64},
        "vision_config": _SIGLIP,
    },
}  # fmt: skip
