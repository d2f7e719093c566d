"""Models whose images become words without a projector, and models of text, sound or images alone."""

from __future__ import annotations

import torch
import transformers as hf

from support.families.parts import (
    BATCH,
    IMAGE,
    SIDE,
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


def _plain(config: dict[str, object]) -> dict[str, object]:
    return {k: v for k, v in config.items() if k != "model_type"}


def fuyu() -> Built:
    """Patches go into the decoder through one linear layer."""
    text = decoder("persimmon")
    for name in ("num_key_value_heads", "head_dim"):
        text.pop(name)
    config = hf.FuyuConfig(
        text_config=text, image_size=SIDE, patch_size=8, image_token_id=IMAGE, pad_token_id=0,
        hidden_size=WIDTH,
    )  # fmt: skip
    ids = prompt(16)
    inputs = with_mask(ids, image_patches=pixels(BATCH, 16, 3 * 8 * 8))
    return built(hf.FuyuForCausalLM, config), inputs


def chameleon() -> Built:
    """An image becomes words of the decoder's own vocabulary."""
    names = {f"IMGIMG{chr(65 + i // 10)}{chr(65 + i % 10)}Z": 100 + i for i in range(32)}
    codes = {
        "embed_dim": 8, "num_embeddings": 32, "latent_channels": 8, "resolution": SIDE,
        "base_channels": 32, "channel_multiplier": [1, 1, 1, 1], "num_res_blocks": 1,
    }  # fmt: skip
    config = hf.ChameleonConfig(
        **_plain(decoder(head_dim=None)) | {"num_key_value_heads": 2}, vq_config=codes,
        vocabulary_map=names | {"<image>": IMAGE},
    )  # fmt: skip
    inputs = with_mask(prompt(16), pixel_values=pixels())
    return built(hf.ChameleonForConditionalGeneration, config), inputs


def emu3() -> Built:
    """An image becomes words, too; what makes them says that it takes pixels."""
    names = {f"<|visual token {i:06}|>": 110 + i for i in range(32)}
    codes = {
        "codebook_size": 32, "embed_dim": 4, "latent_channels": 4, "base_channels": 32,
        "channel_multiplier": [1, 1], "num_res_blocks": 1, "attn_resolutions": [],
        "hidden_size": WIDTH, "temporal_downsample_factor": 1,
    }  # fmt: skip
    config = hf.Emu3Config(
        vq_config=codes, text_config=decoder("emu3_text_model"),
        vocabulary_map=names | {"<image>": IMAGE, "<|extra_200|>": 100},
    )  # fmt: skip
    inputs = with_mask(
        prompt(16 * 17), pixel_values=pixels(), image_sizes=torch.full((BATCH, 2), SIDE)
    )
    return built(hf.Emu3ForConditionalGeneration, config), inputs


def whisper() -> Built:
    text = {k: v for k, v in bart("whisper").items() if "position" not in k and k[:6] != "forced"}
    config = hf.WhisperConfig(
        **_plain(text), num_mel_bins=8, max_source_positions=30, max_target_positions=64,
        suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    return built(hf.WhisperForConditionalGeneration, config), {
        "input_features": pixels(BATCH, 8, 60)
    }


def plain_llama() -> Built:
    return built(hf.LlamaForCausalLM, hf.LlamaConfig(**_plain(decoder()))), with_mask(words())


def mixtral() -> Built:
    config = hf.MixtralConfig(**_plain(decoder()), num_local_experts=4, num_experts_per_tok=2)
    return built(hf.MixtralForCausalLM, config), with_mask(words())


def plain_t5() -> Built:
    return built(hf.T5ForConditionalGeneration, hf.T5Config(**_plain(t5()))), with_mask(words())


def mamba() -> Built:
    """States instead of keys and values: its cache counts no positions."""
    config = hf.MambaConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=2, state_size=4, pad_token_id=0,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return built(hf.MambaForCausalLM, config), {"input_ids": words()}


def vit_cls() -> Built:
    return built(hf.ViTForImageClassification, hf.ViTConfig(**tower())), {"pixel_values": pixels()}


def clip() -> Built:
    text = decoder("clip_text_model", eos_token_id=2)
    for name in ("num_key_value_heads", "head_dim"):
        text.pop(name)
    config = hf.CLIPConfig(text_config=text, vision_config=tower(), projection_dim=16)
    return built(hf.CLIPModel, config), {"pixel_values": pixels(), "input_ids": words()}


TOWERLESS: dict[str, Builder] = {
    build.__name__: build
    for build in (
        fuyu,
        chameleon,
        emu3,
        whisper,
        plain_llama,
        mixtral,
        plain_t5,
        mamba,
        vit_cls,
        clip,
    )
}
