"""Families with learned queries between tower and text: Q-Formers, resamplers, connectors."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from support.families.parts import (
    BATCH,
    IMAGE,
    PATCHES,
    SIDE,
    VIDEO,
    VISION_WIDTH,
    VOCAB,
    WIDTH,
    Builder,
    Built,
    built,
    decoder,
    opt,
    pixels,
    prompt,
    qformer,
    t5,
    tower,
    with_mask,
    words,
)

QUERIES = 4


def _blip2(text: dict[str, Any]) -> Built:
    config = hf.Blip2Config(
        vision_config=tower(), qformer_config=qformer(), text_config=text,
        num_query_tokens=QUERIES, image_token_index=IMAGE,
    )  # fmt: skip
    inputs = with_mask(prompt(QUERIES), pixel_values=pixels())
    return built(hf.Blip2ForConditionalGeneration, config), inputs


def blip2_opt() -> Built:
    return _blip2(opt())


def blip2_t5() -> Built:
    return _blip2(t5())


def _instruction() -> dict[str, Any]:
    ids = words()
    return {"qformer_input_ids": ids, "qformer_attention_mask": torch.ones_like(ids)}


def _instructblip(text: dict[str, Any]) -> Built:
    config = hf.InstructBlipConfig(
        vision_config=tower(), qformer_config=qformer(), text_config=text,
        num_query_tokens=QUERIES, image_token_index=IMAGE,
    )  # fmt: skip
    inputs = with_mask(prompt(QUERIES), pixel_values=pixels(), **_instruction())
    return built(hf.InstructBlipForConditionalGeneration, config), inputs


def instructblip_t5() -> Built:
    return _instructblip(t5())


def instructblip_vicuna() -> Built:
    return _instructblip(decoder())


def instructblip_video() -> Built:
    """Four frames a sample, each with its own queries."""
    config = hf.InstructBlipVideoConfig(
        vision_config=tower(), qformer_config=qformer(), text_config=decoder(),
        num_query_tokens=QUERIES, video_token_index=VIDEO,
    )  # fmt: skip
    inputs = with_mask(
        prompt(4 * QUERIES, VIDEO), pixel_values=pixels(BATCH, 4, 3, SIDE, SIDE), **_instruction()
    )
    return built(hf.InstructBlipVideoForConditionalGeneration, config), inputs


def _two_images() -> dict[str, Any]:
    mask = torch.ones(BATCH, 2, SIDE, SIDE, dtype=torch.long)
    return {"pixel_values": pixels(BATCH, 2, 3, SIDE, SIDE), "pixel_attention_mask": mask}


def idefics2() -> Built:
    """Two images a sample, each resampled to three places."""
    config = hf.Idefics2Config(
        vision_config=tower(), text_config=decoder("mistral"), image_token_id=IMAGE,
        perceiver_config={
            "hidden_size": WIDTH, "resampler_n_latents": 3, "resampler_depth": 1,
            "resampler_n_heads": 2, "resampler_head_dim": 16, "num_key_value_heads": 1,
        },
    )  # fmt: skip
    inputs = with_mask(prompt(2 * 3), **_two_images())
    return built(hf.Idefics2ForConditionalGeneration, config), inputs


def _shuffled(config_class: Any, model_class: Any) -> Built:
    config = config_class(
        vision_config=tower(), text_config=decoder(), image_token_id=IMAGE, scale_factor=2
    )
    return built(model_class, config), with_mask(prompt(2 * 4), **_two_images())


def idefics3() -> Built:
    return _shuffled(hf.Idefics3Config, hf.Idefics3ForConditionalGeneration)


def smolvlm() -> Built:
    return _shuffled(hf.SmolVLMConfig, hf.SmolVLMForConditionalGeneration)


def kosmos2() -> Built:
    """The places of the image are told by a mask, not by an id."""
    text = {
        "vocab_size": VOCAB, "embed_dim": WIDTH, "layers": 2, "ffn_dim": 48, "attention_heads": 2,
        "max_position_embeddings": 64,
    }  # fmt: skip
    config = hf.Kosmos2Config(vision_config=tower(), text_config=text, latent_query_num=QUERIES)
    inputs = with_mask(
        prompt(QUERIES), pixel_values=pixels(),
        image_embeds_position_mask=(prompt(QUERIES) == IMAGE).int(),
    )  # fmt: skip
    return built(hf.Kosmos2ForConditionalGeneration, config), inputs


def kosmos2_5() -> Built:
    """Pix2Struct's tower on flattened patches, and Kosmos-2's queries."""
    text = {
        "vocab_size": VOCAB, "embed_dim": WIDTH, "layers": 2, "ffn_dim": 48, "attention_heads": 2,
        "max_position_embeddings": 64,
    }  # fmt: skip
    vision = {
        "hidden_size": VISION_WIDTH, "patch_embed_hidden_size": 3 * 8 * 8, "intermediate_size": 40,
        "head_dim": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "max_num_patches": 32,
    }  # fmt: skip
    config = hf.Kosmos2_5Config(vision_config=vision, text_config=text, latent_query_num=QUERIES)
    patches = pixels(BATCH, PATCHES, 2 + 3 * 8 * 8)
    patches[:, :, 0] = torch.arange(PATCHES) // 4 + 1
    patches[:, :, 1] = torch.arange(PATCHES) % 4 + 1
    inputs = with_mask(
        prompt(QUERIES), flattened_patches=patches,
        image_embeds_position_mask=(prompt(QUERIES) == IMAGE).int(),
        width=torch.full((BATCH,), 4), height=torch.full((BATCH,), 4),
    )  # fmt: skip
    return built(hf.Kosmos2_5ForConditionalGeneration, config), inputs


def aria() -> Built:
    """A projector that attends to the patches with queries, and a mixture of experts."""
    config = hf.AriaConfig(
        vision_config=tower("idefics3_vision"), image_token_index=IMAGE,
        text_config=decoder("aria_text", moe_num_experts=4, moe_topk=2, moe_num_shared_experts=1),
        projector_patch_to_query_dict={PATCHES: QUERIES},
    )  # fmt: skip
    inputs = with_mask(prompt(QUERIES), pixel_values=pixels())
    return built(hf.AriaForConditionalGeneration, config), inputs


RESAMPLED: dict[str, Builder] = {
    build.__name__: build
    for build in (
        blip2_opt, blip2_t5, instructblip_t5, instructblip_vicuna, instructblip_video, idefics2,
        idefics3, smolvlm, kosmos2, kosmos2_5, aria,
    )
}  # fmt: skip
