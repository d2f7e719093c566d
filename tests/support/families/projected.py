"""Families whose tower's patches go through a projector into the prompt: LLaVA and its kin."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from support.families.parts import (
    BATCH,
    END,
    IMAGE,
    PATCHES,
    SIDE,
    START,
    VIDEO,
    VOCAB,
    WIDTH,
    Builder,
    Built,
    built,
    decoder,
    pixels,
    prompt,
    tower,
    with_mask,
    words,
)

CLIP, SIGLIP = "clip_vision_model", "siglip_vision_model"


def llava() -> Built:
    config = hf.LlavaConfig(
        vision_config=tower(CLIP), text_config=decoder(), image_token_index=IMAGE,
        vision_feature_layer=-2,
    )  # fmt: skip
    inputs = with_mask(prompt(PATCHES), pixel_values=pixels())
    return built(hf.LlavaForConditionalGeneration, config), inputs


def llava_pixtral() -> Built:
    config = hf.LlavaConfig(
        vision_config=tower("pixtral", head_dim=12), text_config=decoder("mistral"),
        image_token_index=IMAGE, vision_feature_layer=-1, vision_feature_select_strategy="full",
    )  # fmt: skip
    inputs = with_mask(
        prompt(PATCHES), pixel_values=pixels(), image_sizes=torch.full((BATCH, 2), SIDE)
    )
    return built(hf.LlavaForConditionalGeneration, config), inputs


def vipllava() -> Built:
    config = hf.VipLlavaConfig(
        vision_config=tower(CLIP), text_config=decoder(), image_token_index=IMAGE,
        vision_feature_layers=[-1, -2],
    )  # fmt: skip
    inputs = with_mask(prompt(PATCHES), pixel_values=pixels())
    return built(hf.VipLlavaForConditionalGeneration, config), inputs


# An image of 32 by 64 px is two tiles and the whole: 16 patches, and 4 rows of 8 with a newline each.
TILED = PATCHES + 4 * 8 + 4
GRID = [[32, 64], [64, 32], [64, 64]]


def _tiles() -> dict[str, Any]:
    sizes = torch.tensor([[32, 64]] * BATCH)
    return {"pixel_values": pixels(BATCH, 3, 3, SIDE, SIDE), "image_sizes": sizes}


def llava_next() -> Built:
    config = hf.LlavaNextConfig(
        vision_config=tower(CLIP), text_config=decoder(), image_token_index=IMAGE,
        image_grid_pinpoints=GRID,
    )  # fmt: skip
    return built(hf.LlavaNextForConditionalGeneration, config), with_mask(prompt(TILED), **_tiles())


def llava_onevision() -> Built:
    config = hf.LlavaOnevisionConfig(
        vision_config=tower(SIGLIP), text_config=decoder("qwen2"), image_token_index=IMAGE,
        video_token_index=VIDEO, image_grid_pinpoints=GRID,
    )  # fmt: skip
    model = built(hf.LlavaOnevisionForConditionalGeneration, config)
    return model, with_mask(prompt(TILED), **_tiles())


def llava_next_video() -> Built:
    """Three frames a sample, each pooled to four places."""
    config = hf.LlavaNextVideoConfig(
        vision_config=tower(CLIP), text_config=decoder(), image_token_index=IMAGE,
        video_token_index=VIDEO, image_grid_pinpoints=GRID,
    )  # fmt: skip
    inputs = with_mask(prompt(3 * 4, VIDEO), pixel_values_videos=pixels(BATCH, 3, 3, SIDE, SIDE))
    return built(hf.LlavaNextVideoForConditionalGeneration, config), inputs


def paligemma() -> Built:
    config = hf.PaliGemmaConfig(
        vision_config=tower(SIGLIP, projection_dim=WIDTH, vision_use_head=False),
        text_config=decoder("gemma"), image_token_index=IMAGE, projection_dim=WIDTH,
        hidden_size=WIDTH,
    )  # fmt: skip
    ids = torch.cat([torch.full((BATCH, PATCHES), IMAGE), prompt(0)], 1)
    inputs = with_mask(ids, pixel_values=pixels(), token_type_ids=torch.zeros_like(ids))
    return built(hf.PaliGemmaForConditionalGeneration, config), inputs


def gemma3() -> Built:
    text = decoder(
        "gemma3_text", sliding_window=8, layer_types=["sliding_attention", "full_attention"]
    )
    config = hf.Gemma3Config(
        vision_config=tower(SIGLIP, vision_use_head=False), text_config=text,
        image_token_index=IMAGE, mm_tokens_per_image=4, boi_token_index=START, eoi_token_index=END,
    )  # fmt: skip
    ids = prompt(4)
    inputs = with_mask(ids, pixel_values=pixels(), token_type_ids=(ids == IMAGE).int())
    return built(hf.Gemma3ForConditionalGeneration, config), inputs


def internvl() -> Built:
    config = hf.InternVLConfig(
        vision_config=tower("internvl_vision"), text_config=decoder("qwen2"), image_token_id=IMAGE,
        image_seq_length=4,
    )  # fmt: skip
    inputs = with_mask(prompt(4), pixel_values=pixels())
    return built(hf.InternVLForConditionalGeneration, config), inputs


def mistral3() -> Built:
    config = hf.Mistral3Config(
        vision_config=tower("pixtral", head_dim=12), text_config=decoder("mistral"),
        image_token_index=IMAGE,
    )  # fmt: skip
    inputs = with_mask(prompt(4), pixel_values=pixels(), image_sizes=torch.full((BATCH, 2), SIDE))
    return built(hf.Mistral3ForConditionalGeneration, config), inputs


def aya_vision() -> Built:
    config = hf.AyaVisionConfig(
        vision_config=tower(SIGLIP, vision_use_head=False),
        text_config=decoder("cohere2", sliding_window=8), image_token_index=IMAGE,
    )  # fmt: skip
    inputs = with_mask(prompt(4), pixel_values=pixels())
    return built(hf.AyaVisionForConditionalGeneration, config), inputs


def cohere2_vision() -> Built:
    config = hf.Cohere2VisionConfig(
        vision_config=tower(SIGLIP, vision_use_head=False),
        text_config=decoder("cohere2", sliding_window=8), image_token_id=IMAGE,
        alignment_intermediate_size=48,
    )  # fmt: skip
    inputs = with_mask(prompt(4), pixel_values=pixels())
    return built(hf.Cohere2VisionForConditionalGeneration, config), inputs


def got_ocr2() -> Built:
    """SAM's tower: convolutions after its layers, and two more in the projector."""
    vision = tower(output_channels=16, window_size=2, global_attn_indexes=[1], mlp_dim=40) | {
        "image_size": 64, "patch_size": 4,
    }  # fmt: skip
    config = hf.GotOcr2Config(
        vision_config=vision, text_config=decoder("qwen2"), image_token_index=IMAGE
    )
    inputs = with_mask(prompt(PATCHES), pixel_values=pixels(BATCH, 3, 64, 64))
    return built(hf.GotOcr2ForConditionalGeneration, config), inputs


def ovis2() -> Built:
    """A table of visual words instead of a projector."""
    vision = tower(hidden_stride=2, vocab_size=64, num_visual_indicator_tokens=2)
    config = hf.Ovis2Config(
        vision_config=vision, text_config=decoder("qwen2"), image_token_id=IMAGE,
        visual_indicator_token_ids=[START, END], hidden_size=WIDTH, vocab_size=200,
    )  # fmt: skip
    inputs = with_mask(prompt(4), pixel_values=pixels())
    return built(hf.Ovis2ForConditionalGeneration, config), inputs


def janus() -> Built:
    vision = tower(projection_dim=WIDTH, num_image_tokens=PATCHES, depth=2, mlp_ratio=2)
    codes = {
        "embed_dim": 8, "num_embeddings": 32, "latent_channels": 8, "base_channels": 32,
        "channel_multiplier": [1, 1], "num_res_blocks": 1, "num_patches": 4,
        "projection_dim": WIDTH, "image_token_embed_dim": WIDTH,
    }  # fmt: skip
    config = hf.JanusConfig(
        vision_config=vision, text_config=decoder(), vq_config=codes, image_token_id=IMAGE
    )
    inputs = with_mask(prompt(PATCHES), pixel_values=pixels())
    return built(hf.JanusForConditionalGeneration, config), inputs


def deepseek_vl() -> Built:
    config = hf.DeepseekVLConfig(
        vision_config=tower(SIGLIP, vision_use_head=False), text_config=decoder(),
        image_token_id=IMAGE,
    )  # fmt: skip
    inputs = with_mask(prompt(PATCHES), pixel_values=pixels())
    return built(hf.DeepseekVLForConditionalGeneration, config), inputs


def lfm2_vl() -> Built:
    """Patches instead of pixels, and a language model of convolutions and attention."""
    vision = tower("siglip2_vision_model", num_patches=16, vision_use_head=False)
    text = decoder("lfm2", layer_types=["conv", "full_attention"], block_multiple_of=8)
    config = hf.Lfm2VlConfig(
        vision_config=vision, text_config=text, image_token_id=IMAGE, projector_hidden_size=48
    )
    inputs = with_mask(
        prompt(4), pixel_values=pixels(BATCH, PATCHES, 3 * 8 * 8),
        pixel_attention_mask=torch.ones(BATCH, PATCHES, dtype=torch.long),
        spatial_shapes=torch.full((BATCH, 2), 4),
    )  # fmt: skip
    return built(hf.Lfm2VlForConditionalGeneration, config), inputs


def video_llava() -> Built:
    """Two towers of one kind: an image and a video of eight frames a sample."""
    frames = 8 * (PATCHES + 1)
    config = hf.VideoLlavaConfig(
        vision_config=tower(CLIP), text_config=decoder(), image_token_index=IMAGE,
        video_token_index=VIDEO, image_seq_length=PATCHES, video_seq_length=frames,
    )  # fmt: skip
    ids = torch.cat([prompt(PATCHES), torch.full((BATCH, frames), VIDEO), words(2)], 1)
    inputs = with_mask(
        ids, pixel_values_images=pixels(), pixel_values_videos=pixels(BATCH, 8, 3, SIDE, SIDE)
    )
    return built(hf.VideoLlavaForConditionalGeneration, config), inputs


def deepseek_vl_hybrid() -> Built:
    """Two towers of two kinds, for two sizes of the same image."""
    fine = tower(
        "sam_vision_model", output_channels=16, window_size=2, global_attn_indexes=[1], mlp_dim=40
    )
    config = hf.DeepseekVLHybridConfig(
        vision_config=tower(SIGLIP, vision_use_head=False), text_config=decoder(),
        image_token_id=IMAGE, high_res_vision_config=fine | {"image_size": 64, "patch_size": 4},
    )  # fmt: skip
    inputs = with_mask(
        prompt(PATCHES), pixel_values=pixels(), high_res_pixel_values=pixels(BATCH, 3, 64, 64)
    )
    return built(hf.DeepseekVLHybridForConditionalGeneration, config), inputs


def gemma4() -> Built:
    """Patches with their places, pooled in the tower; an embedding of its own for each layer."""
    text = decoder(
        "gemma4_text", sliding_window=8, layer_types=["sliding_attention", "full_attention"],
        hidden_size_per_layer_input=8, vocab_size_per_layer_input=VOCAB, global_head_dim=16,
    )  # fmt: skip
    vision = tower(
        "gemma4_vision", num_key_value_heads=2, head_dim=12, pooling_kernel_size=2,
        position_embedding_size=64,
    )  # fmt: skip
    config = hf.Gemma4Config(
        text_config=text, vision_config=vision, audio_config=None, image_token_id=IMAGE,
        video_token_id=VIDEO, boi_token_id=START, eoi_token_id=END, audio_token_id=194,
        boa_token_id=195,
    )  # fmt: skip
    places = torch.stack([torch.arange(PATCHES) % 4, torch.arange(PATCHES) // 4], -1)
    ids = prompt(4)
    inputs = with_mask(
        ids, pixel_values=pixels(BATCH, PATCHES, 3 * 8 * 8),
        image_position_ids=places[None].repeat(BATCH, 1, 1), mm_token_type_ids=(ids == IMAGE).int(),
    )  # fmt: skip
    return built(hf.Gemma4ForConditionalGeneration, config), inputs


def video_llama_3() -> Built:
    vision = {name: value for name, value in tower().items() if name != "image_size"}
    config = hf.VideoLlama3Config(
        vision_config=vision, text_config=decoder("qwen2"), image_token_id=IMAGE,
        video_token_id=VIDEO,
    )  # fmt: skip
    inputs = with_mask(
        prompt(4), pixel_values=pixels(BATCH * PATCHES, 3 * 8 * 8),
        image_grid_thw=torch.tensor([[1, 4, 4]] * BATCH), image_merge_sizes=torch.tensor([2, 2]),
    )  # fmt: skip
    return built(hf.VideoLlama3ForConditionalGeneration, config), inputs


PROJECTED: dict[str, Builder] = {
    build.__name__: build
    for build in (
        llava, llava_pixtral, vipllava, llava_next, llava_onevision, llava_next_video, paligemma,
        gemma3, internvl, mistral3, aya_vision, cohere2_vision, got_ocr2, ovis2, janus, deepseek_vl,
        lfm2_vl, video_llava, deepseek_vl_hybrid, gemma4, video_llama_3,
    )
}  # fmt: skip
