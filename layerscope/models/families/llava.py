"""LLaVA: a closed form of its FLOPs, for a CLIP or SigLIP tower and a language model like Llama's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerscope.core.errors import ModelError
from layerscope.models.closed_form import ClosedForm, FormFlops, product, shape_of
from layerscope.models.decoder_only import angles_by_product, language_parts, tower_flops

_TOWER, _LANGUAGE = "model.vision_tower", "model.language_model"
_PATCHES = f"{_TOWER}.embeddings.patch_embedding"
_TEXTS = ("llama", "mistral", "qwen2")
_CLASS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0}


def _flops_of_run(model: Any, calls: Mapping[str, Any], decoder_steps: int) -> FormFlops:
    config = model.config
    text, vision = config.text_config, config.vision_config
    if text.model_type not in _TEXTS or vision.model_type not in _CLASS_TOKENS:
        raise ModelError(
            f"{type(model).__name__}: the closed form is written for towers like CLIP's and language "
            f"models like Llama's, not for {vision.model_type} and {text.model_type}."
        )
    images, _, height, width = shape_of(calls, _TOWER, "pixel_values")
    rows, prompt, _ = shape_of(calls, _LANGUAGE, "inputs_embeds")
    patches = (height // vision.patch_size) * (width // vision.patch_size)
    seen = patches + _CLASS_TOKENS[vision.model_type]
    # "default" leaves the class token out.
    kept = patches if config.vision_feature_select_strategy == "default" else seen
    h = text.hidden_size
    convolution = images * product(patches, 3 * vision.patch_size**2, vision.hidden_size)
    return FormFlops(
        parts={
            "vision": images * tower_flops(vision, patches=patches, tokens=seen),
            "projection": images * (product(kept, vision.hidden_size, h) + product(kept, h, h)),
            **language_parts(
                text,
                rows=rows,
                prompt=prompt,
                steps=decoder_steps,
                angles=int(angles_by_product(model.get_submodule(f"{_LANGUAGE}.rotary_emb"))),
            ),
        },
        rows={"patch convolution": ((_PATCHES, "vision"), convolution)},
    )


CLOSED_FORM = ClosedForm(of="LLaVA", parts=(_TOWER, _LANGUAGE), flops=_flops_of_run)
