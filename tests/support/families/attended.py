"""Families whose decoder looks at the image itself, by cross-attention or by a prefix of its own."""

from __future__ import annotations

import torch
import transformers as hf

from support.families.parts import (
    BATCH,
    END,
    IMAGE,
    SIDE,
    START,
    TEXT,
    VISION_WIDTH,
    VOCAB,
    WIDTH,
    Builder,
    Built,
    bart,
    built,
    decoder,
    pixels,
    prompt,
    t5,
    tower,
    with_mask,
    words,
)


def mllama() -> Built:
    """Its tower runs under the model; one of its layers attends to the image alone."""
    vision = tower(
        attention_heads=2, num_global_layers=1, vision_output_dim=2 * VISION_WIDTH,
        max_num_tiles=2, intermediate_layers_indices=[0], supported_aspect_ratios=[[1, 1], [1, 2]],
    )  # fmt: skip
    vision.pop("num_attention_heads")
    text = decoder("mllama_text_model", cross_attention_layers=[1], num_hidden_layers=3)
    text.pop("head_dim")
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e4}
    config = hf.MllamaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE)
    ids = prompt(1)
    inputs = with_mask(
        ids, pixel_values=pixels(BATCH, 1, 2, 3, SIDE, SIDE),
        aspect_ratio_ids=torch.ones(BATCH, 1, dtype=torch.long),
        aspect_ratio_mask=torch.ones(BATCH, 1, 2, dtype=torch.long),
        cross_attention_mask=torch.ones(BATCH, ids.shape[1], 1, 2, dtype=torch.long),
    )  # fmt: skip
    return built(hf.MllamaForConditionalGeneration, config), inputs


def idefics() -> Built:
    """Gated cross-attention layers between those of the language model."""
    config = hf.IdeficsConfig(
        vocab_size=VOCAB, additional_vocab_size=0, hidden_size=WIDTH, intermediate_size=48,
        num_hidden_layers=2, num_attention_heads=2, cross_layer_interval=1, use_resampler=True,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
        vision_config={k: v for k, v in tower(embed_dim=VISION_WIDTH).items() if k != "hidden_size"},
        perceiver_config={
            "use_resampler": True, "resampler_n_latents": 4, "resampler_depth": 1,
            "resampler_n_heads": 2, "resampler_head_dim": 12,
        },
    )  # fmt: skip
    ids = words()
    inputs = with_mask(
        ids, pixel_values=pixels(BATCH, 1, 3, SIDE, SIDE),
        image_attention_mask=torch.ones(BATCH, TEXT, 1, dtype=torch.long),
    )  # fmt: skip
    return built(hf.IdeficsForVisionText2Text, config), inputs


def blip() -> Built:
    text = {
        "vocab_size": VOCAB, "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 2, "bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 2,
        "pad_token_id": 0, "max_position_embeddings": 64,
    }  # fmt: skip
    config = hf.BlipConfig(vision_config=tower(), text_config=text)
    return built(hf.BlipForConditionalGeneration, config), with_mask(words(), pixel_values=pixels())


def git() -> Built:
    """The tower lies inside the decoder, whose prompt begins with the image."""
    config = hf.GitConfig(
        vision_config=tower(), vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=48, max_position_embeddings=128, bos_token_id=1,
        eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    return built(hf.GitForCausalLM, config), with_mask(words(2), pixel_values=pixels())


def florence2() -> Built:
    vision = {
        "model_type": "florence_vision", "embed_dim": [8, 16, 16, 24], "num_heads": [2, 2, 2, 2],
        "num_groups": [2, 2, 2, 2], "depths": [1, 1, 1, 1], "window_size": 2,
        "projection_dim": WIDTH, "patch_size": [7, 3, 3, 3], "max_temporal_embeddings": 4,
        "max_position_embeddings": 10,
    }  # fmt: skip
    config = hf.Florence2Config(vision_config=vision, text_config=bart(), image_token_id=IMAGE)
    inputs = with_mask(prompt(4 + 1), pixel_values=pixels(BATCH, 3, 64, 64))
    return built(hf.Florence2ForConditionalGeneration, config), inputs


def pix2struct() -> Built:
    text = {
        "vocab_size": VOCAB, "hidden_size": WIDTH, "d_kv": 16, "d_ff": 48, "num_layers": 2,
        "num_heads": 2, "encoder_hidden_size": WIDTH, "decoder_start_token_id": 0,
        "pad_token_id": 0, "eos_token_id": 1,
    }  # fmt: skip
    vision = {
        "hidden_size": WIDTH, "patch_embed_hidden_size": 3 * 8 * 8, "d_ff": 40, "d_kv": 16,
        "num_hidden_layers": 2, "num_attention_heads": 2, "seq_len": 32,
    }  # fmt: skip
    config = hf.Pix2StructConfig(vision_config=vision, text_config=text)
    patches = pixels(BATCH, 16, 2 + 3 * 8 * 8)
    patches[:, :, 0] = torch.arange(16) // 4 + 1
    patches[:, :, 1] = torch.arange(16) % 4 + 1
    inputs = {"flattened_patches": patches, "attention_mask": torch.ones(BATCH, 16)}
    return built(hf.Pix2StructForConditionalGeneration, config), inputs


def donut() -> Built:
    encoder = hf.DonutSwinConfig(
        image_size=[SIDE, SIDE], patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2],
        window_size=4,
    )  # fmt: skip
    return _encoder_decoder(encoder, hf.MBartConfig(**_crossing(bart("mbart"))))


def trocr() -> Built:
    """A decoder as wide as its encoder is not: a projection stands between them."""
    text = {
        "vocab_size": VOCAB, "d_model": WIDTH, "decoder_layers": 2, "decoder_attention_heads": 2,
        "decoder_ffn_dim": 48, "max_position_embeddings": 64, "pad_token_id": 1, "bos_token_id": 0,
        "eos_token_id": 2, "cross_attention_hidden_size": None,
    }  # fmt: skip
    return _encoder_decoder(hf.ViTConfig(**tower()), hf.TrOCRConfig(**_crossing(text)))


def _crossing(text: dict[str, object]) -> dict[str, object]:
    named = {k: v for k, v in text.items() if k != "model_type"}
    return named | {"is_decoder": True, "add_cross_attention": True}


def _encoder_decoder(encoder: object, text: object) -> Built:
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, text)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 0, 1, 2
    model = built(hf.VisionEncoderDecoderModel, config)
    model.generation_config.decoder_start_token_id = 0
    model.generation_config.pad_token_id = 1
    return model, {"pixel_values": pixels()}


def udop() -> Built:
    """The encoder takes pixels, text and boxes together: there is no tower."""
    config = hf.UdopConfig(
        **{k: v for k, v in t5().items() if k not in ("model_type", "num_decoder_layers")},
        num_decoder_layers=2, image_size=SIDE, patch_size=8, max_2d_position_embeddings=64,
    )  # fmt: skip
    inputs = with_mask(words(), pixel_values=pixels(), bbox=torch.zeros(BATCH, TEXT, 4))
    inputs["bbox"] = inputs["bbox"].long()
    return built(hf.UdopForConditionalGeneration, config), inputs


def t5gemma2() -> Built:
    """Tower and projector lie inside the encoder."""
    text = decoder(
        "t5gemma2_text", sliding_window=8, layer_types=["sliding_attention", "full_attention"]
    )
    encoder = {
        "text_config": text, "vision_config": tower("siglip_vision_model", vision_use_head=False),
        "mm_tokens_per_image": 4, "image_token_index": IMAGE, "boi_token_index": START,
        "eoi_token_index": END,
    }  # fmt: skip
    config = hf.T5Gemma2Config(
        encoder=encoder, decoder=text | {"model_type": "t5gemma2_decoder"}, image_token_index=IMAGE
    )
    model = built(hf.T5Gemma2ForConditionalGeneration, config)
    model.generation_config.update(decoder_start_token_id=1, pad_token_id=0, eos_token_id=2)
    return model, with_mask(prompt(4), pixel_values=pixels())


ATTENDED: dict[str, Builder] = {
    build.__name__: build
    for build in (mllama, idefics, blip, git, florence2, pix2struct, donut, trocr, udop, t5gemma2)
}
