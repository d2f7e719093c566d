"""Families whose tower merges patches itself: Qwen-VL and its kin. Images are rows of patches."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from support.families.parts import (
    BATCH,
    END,
    IMAGE,
    START,
    VIDEO,
    VISION_WIDTH,
    WIDTH,
    Builder,
    Built,
    built,
    decoder,
    pixels,
    with_mask,
    words,
)

# 4 by 4 patches an image, merged to 4 places.
SIDE_PATCHES, PLACES = 4, 4


def _text(model_type: str, sections: list[int]) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": sections}
    return decoder(model_type, rope_parameters=rope)


def _tower(patch: int, **more: Any) -> dict[str, Any]:
    return {
        "depth": 2, "hidden_size": VISION_WIDTH, "num_heads": 2, "patch_size": patch,
        "spatial_merge_size": 2, "temporal_patch_size": 2,
    } | more  # fmt: skip


def _ids(places: int = PLACES, placeholder: int = IMAGE) -> torch.Tensor:
    text = words()
    column = torch.full((BATCH, 1), 1)
    image = torch.full((BATCH, places), placeholder)
    return torch.cat([text[:, :2], column * START, image, column * END, text[:, 2:]], 1)


def _image(patch: int, ids: torch.Tensor) -> dict[str, Any]:
    grid = torch.tensor([[1, SIDE_PATCHES, SIDE_PATCHES]] * BATCH)
    rows = pixels(BATCH * SIDE_PATCHES**2, 3 * 2 * patch**2)
    types = (ids == IMAGE).int()
    return {"pixel_values": rows, "image_grid_thw": grid, "mm_token_type_ids": types}


def _tokens() -> dict[str, int]:
    return {
        "image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": START,
        "vision_end_token_id": END,
    }  # fmt: skip


def qwen2_vl() -> Built:
    vision = _tower(8, embed_dim=VISION_WIDTH, mlp_ratio=2) | {"hidden_size": WIDTH}
    text = _text("qwen2_vl_text", [2, 3, 3])
    config = hf.Qwen2VLConfig(vision_config=vision, text_config=text, **_tokens())
    ids = _ids()
    return built(hf.Qwen2VLForConditionalGeneration, config), with_mask(ids, **_image(8, ids))


def _qwen2_5_vl() -> Any:
    vision = _tower(
        8, out_hidden_size=WIDTH, intermediate_size=40, window_size=32, fullatt_block_indexes=[1]
    )
    text = _text("qwen2_5_vl_text", [2, 3, 3])
    config = hf.Qwen2_5_VLConfig(vision_config=vision, text_config=text, **_tokens())
    return built(hf.Qwen2_5_VLForConditionalGeneration, config)


def qwen2_5_vl() -> Built:
    ids = _ids()
    return _qwen2_5_vl(), with_mask(ids, **_image(8, ids))


def qwen2_5_vl_video() -> Built:
    """A video of four frames a sample, two of them to a patch."""
    ids = _ids(2 * PLACES, VIDEO)
    inputs = with_mask(
        ids, pixel_values_videos=pixels(2 * BATCH * SIDE_PATCHES**2, 3 * 2 * 8**2),
        video_grid_thw=torch.tensor([[2, SIDE_PATCHES, SIDE_PATCHES]] * BATCH),
        second_per_grid_ts=torch.ones(BATCH), mm_token_type_ids=2 * (ids == VIDEO).int(),
    )  # fmt: skip
    return _qwen2_5_vl(), inputs


def qwen3_vl() -> Built:
    vision = _tower(
        8, out_hidden_size=WIDTH, intermediate_size=40, deepstack_visual_indexes=[0],
        num_position_embeddings=16,
    )  # fmt: skip
    config = hf.Qwen3VLConfig(
        vision_config=vision, text_config=_text("qwen3_vl_text", [4, 2, 2]), **_tokens()
    )
    ids = _ids()
    return built(hf.Qwen3VLForConditionalGeneration, config), with_mask(ids, **_image(8, ids))


def glm4v() -> Built:
    vision = _tower(8, out_hidden_size=WIDTH, intermediate_size=40, image_size=32)
    text = _text("glm4v_text", [2, 3, 3])
    text.pop("head_dim")
    tokens = {
        "image_token_id": IMAGE, "video_token_id": VIDEO, "image_start_token_id": START,
        "image_end_token_id": END,
    }  # fmt: skip
    config = hf.Glm4vConfig(vision_config=vision, text_config=text, **tokens)
    ids = _ids()
    return built(hf.Glm4vForConditionalGeneration, config), with_mask(ids, **_image(8, ids))


def qwen3_5() -> Built:
    """Every other layer attends linearly, with a state instead of keys and values."""
    vision = _tower(8, out_hidden_size=WIDTH, intermediate_size=40, num_position_embeddings=16)
    text = _text("qwen3_5_text", [4, 2, 2]) | {
        "layer_types": ["linear_attention", "full_attention"], "linear_key_head_dim": 8,
        "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 2,
    }  # fmt: skip
    text["rope_parameters"] |= {"mrope_interleaved": True, "partial_rotary_factor": 1.0}
    config = hf.Qwen3_5Config(vision_config=vision, text_config=text, **_tokens())
    ids = _ids()
    return built(hf.Qwen3_5ForConditionalGeneration, config), with_mask(ids, **_image(8, ids))


MERGED: dict[str, Builder] = {
    build.__name__: build
    for build in (qwen2_vl, qwen2_5_vl, qwen2_5_vl_video, qwen3_vl, glm4v, qwen3_5)
}
