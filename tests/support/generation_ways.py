"""Ways to generate: beams, chunks, drafts, loops of one's own, inputs of other forms.

A way takes a small model and its inputs and gives tokens, or logits where it generates by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from support.families.parts import BATCH, IMAGE
from support.family_check import run

Way = Callable[[Any, dict[str, Any]], Any]
CHUNK = 4


def beams(model: Any, inputs: dict[str, Any]) -> Any:
    return run(model, inputs, num_beams=2)


def sampling(model: Any, inputs: dict[str, Any]) -> Any:
    torch.manual_seed(7)
    return run(model, inputs, do_sample=True)


def static_cache(model: Any, inputs: dict[str, Any]) -> Any:
    return run(model, inputs, cache_implementation="static")


def no_cache(model: Any, inputs: dict[str, Any]) -> Any:
    return run(model, inputs, use_cache=False)


def chunked_prefill(model: Any, inputs: dict[str, Any]) -> Any:
    return run(model, inputs, prefill_chunk_size=CHUNK)


def prompt_lookup(model: Any, inputs: dict[str, Any]) -> Any:
    return run(model, first_sample(inputs), prompt_lookup_num_tokens=2)


def assisted(model: Any, inputs: dict[str, Any]) -> Any:
    """The draft comes from a model of the same shape beside the captured one."""
    torch.manual_seed(3)
    draft = type(model)(model.config).eval()
    draft.generation_config = model.generation_config
    return run(model, first_sample(inputs), assistant_model=draft)


def left_padded(model: Any, inputs: dict[str, Any]) -> Any:
    """The first sample is three tokens of text shorter than the second."""
    ids = inputs["input_ids"].clone()
    pad, short = torch.zeros(1, 3, dtype=torch.long), ids[:1, : ids.shape[1] - 3]
    ids = torch.cat([torch.cat([pad, short], 1), ids[1:]])
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    shifted = {"input_ids": ids, "attention_mask": mask}
    for name in ("mm_token_type_ids", "token_type_ids", "image_embeds_position_mask"):
        if name in inputs:
            row = torch.cat([pad.to(inputs[name].dtype), inputs[name][:1, :-3]], 1)
            shifted[name] = torch.cat([row, inputs[name][1:]])
    return run(model, inputs | shifted)


def text_only(model: Any, inputs: dict[str, Any]) -> Any:
    return run(model, {"input_ids": text_of(inputs)})


def inputs_embeds(model: Any, inputs: dict[str, Any]) -> Any:
    return run(model, {"inputs_embeds": model.get_input_embeddings()(text_of(inputs))})


def by_hand(model: Any, inputs: dict[str, Any]) -> Any:
    """A prompt and three later steps, the cache handed on."""
    given = dict(inputs)
    text = "input_ids"
    if model.config.is_encoder_decoder or "input_ids" not in inputs:
        text = "decoder_input_ids"
        given[text] = torch.zeros((BATCH, 1), dtype=torch.long)
    out = model(**given, use_cache=True)
    for _ in range(3):
        token = out.logits[:, -1:].argmax(-1)
        later = {text: token, "use_cache": True, **cache_in(out)}
        if text == "decoder_input_ids":
            from transformers.modeling_outputs import BaseModelOutput

            encoded = BaseModelOutput(last_hidden_state=out.encoder_last_hidden_state)
            later["encoder_outputs"] = encoded
        if "image_embeds_position_mask" in inputs:
            later["image_embeds"] = out.image_embeds
        out = model(**later)
    return out.logits


def cache_in(out: Any) -> dict[str, Any]:
    """The cache of an output under its name, which is another by version of transformers and kind."""
    names = ("cache", "cache_params", "past_key_values")
    return next({name: out[name]} for name in names if name in out and out[name] is not None)


def first_sample(inputs: dict[str, Any]) -> dict[str, Any]:
    """Of a batch of two its first sample; rows of patches are half of them."""
    found = {}
    for name, value in inputs.items():
        rows = name in ("pixel_values", "pixel_values_videos") and value.dim() == 2
        found[name] = value[: len(value) // 2] if rows else value[:1]
    return found


def text_of(inputs: dict[str, Any]) -> torch.Tensor:
    """The prompt's end, which holds no place of an image."""
    text: torch.Tensor = inputs["input_ids"][:, -4:]
    return text


def two_images(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs with each image twice: its places again after the prompt, its pixels behind the others."""
    ids = inputs["input_ids"]
    places = torch.full((BATCH, int((ids[0] == IMAGE).sum())), IMAGE)
    found = {"input_ids": torch.cat([ids, places, ids[:, :2]], 1)}
    found["attention_mask"] = torch.ones_like(found["input_ids"])
    for name in ("pixel_values", "image_sizes", "image_grid_thw"):
        if name in inputs:
            found[name] = torch.cat([inputs[name], inputs[name]])
    if "mm_token_type_ids" in inputs:
        found["mm_token_type_ids"] = (found["input_ids"] == IMAGE).int()
    return found


ALWAYS_FOUR_LATER: tuple[Way, ...] = (
    beams, sampling, static_cache, no_cache, left_padded, text_only, inputs_embeds,
)  # fmt: skip
DRAFTED: tuple[Way, ...] = (prompt_lookup, assisted)
