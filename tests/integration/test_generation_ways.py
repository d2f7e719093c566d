"""Ways to generate, captured: one prefill and the steps that were made, whatever the way."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest
import torch
from support.families import FAMILIES
from support.family_check import Shown, captured, hooked_calls, run
from support.generation_ways import (
    ALWAYS_FOUR_LATER,
    CHUNK,
    DRAFTED,
    Way,
    by_hand,
    chunked_prefill,
    inputs_embeds,
    text_only,
    two_images,
)

from layerscope.core.roles import decoders
from layerscope.models.roles import roles_of

# transformers 5.24 names it `cache`, and warns whoever says the name of 5.17.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`hidden_state` is deprecated:FutureWarning"),
]
WAYS = (*ALWAYS_FOUR_LATER, *DRAFTED, chunked_prefill, by_hand)
OFTEN = {
    "llava": WAYS,
    "qwen2_5_vl": (*ALWAYS_FOUR_LATER[:2], text_only, by_hand),
    "mllama": (text_only, by_hand),
    "florence2": (chunked_prefill, by_hand),
    "whisper": ALWAYS_FOUR_LATER[:1],
    "mamba": (by_hand,),
}
# Beside them, in slow runs: one or two families of each build.
ALSO = (
    "internvl", "mistral3", "idefics2", "kosmos2", "blip", "instructblip_video", "aya_vision",
    "blip2_t5", "gemma3", "qwen3_vl", "trocr", "video_llava", "lfm2_vl", "chameleon", "git",
    "pix2struct",
)  # fmt: skip
CASES = [
    pytest.param(
        name, way, id=f"{name}-{way.__name__}",
        marks=[] if way in OFTEN.get(name, ()) else [pytest.mark.slow],
    )
    for name in (*OFTEN, *ALSO)
    for way in WAYS
]  # fmt: skip


@pytest.mark.parametrize(("name", "way"), CASES)
def test_a_way_to_generate(name: str, way: Way) -> None:
    model, inputs = FAMILIES[name]()
    shown = shown_by(name, model, inputs, way)
    steps = shown.steps
    if way is chunked_prefill:
        prefills = steps.index("d")
        assert steps == "p" * prefills + "dddd"
        if name not in PROMPT_ELSEWHERE:
            assert prefills == ceil(inputs["input_ids"].shape[1] / CHUNK)
    elif way in DRAFTED:
        assert steps == "p" + "d" * (len(steps) - 1)  # several tokens may come of one step
    else:
        assert steps == ("pddd" if way is by_hand else "pdddd")
    if way in (text_only, inputs_embeds):
        assert not shown.phases & {"vision", "projection", "qformer"}


# Where the decoder's prompt is not the text: it begins with a token of its own, an encoder has the
# text, the image is put before it, or the last token is left out.
PROMPT_ELSEWHERE = (
    "blip", "blip2_t5", "donut", "florence2", "git", "instructblip_t5", "plain_t5", "t5gemma2",
    "trocr", "udop",
)  # fmt: skip


def shown_by(name: str, model: Any, inputs: dict[str, Any], way: Way) -> Shown:
    """The way in a capture: outputs as without, as many steps as the decoder's hook counted."""
    try:
        with torch.no_grad():
            wanted, hooked = hooked_calls(model, lambda: way(model, inputs))
    except Warning:
        raise
    except Exception as error:  # of transformers: not every family takes every way
        said = str(error).strip().partition("\n")[0]
        pytest.skip(f"{name} itself, without a capture: {type(error).__name__}: {said[:100]}")
    got: list[Any] = []
    shown = captured(model, lambda: got.append(way(model, inputs)))
    assert torch.equal(got[0], wanted)
    assert len(shown.steps) == sum(hooked[fqn] for fqn in decoders(roles_of(model)))
    return shown


@pytest.mark.parametrize("name", ["llava", "internvl", "qwen2_5_vl", "mistral3"])
def test_two_images_a_sample_are_one_call_of_the_tower(name: str) -> None:
    model, inputs = FAMILIES[name]()
    inputs = two_images(inputs)
    shown = captured(model, lambda: run(model, inputs))
    assert shown.steps == "pdddd"
    towers = [fqn for fqn, role in roles_of(model).items() if role == "vision"]
    assert [row.calls for row in shown.account.table.rows if row.layer in towers] == [1]


def test_parts_called_by_themselves() -> None:
    """Images encoded once, then a loop over the language model alone: the model itself is not called."""
    model, inputs = FAMILIES["llava"]()

    def block() -> None:
        embeds = model.get_input_embeddings()(inputs["input_ids"])
        images = model.get_image_features(pixel_values=inputs["pixel_values"]).pooler_output
        images = torch.cat(list(images)) if isinstance(images, (list, tuple)) else images
        places = (inputs["input_ids"] == 190).unsqueeze(-1)
        embeds = embeds.masked_scatter(places, images)
        out = model.model.language_model(inputs_embeds=embeds, use_cache=True)
        for _ in range(2):
            token = model.lm_head(out.last_hidden_state[:, -1:]).argmax(-1)
            out = model.model.language_model(
                input_ids=token, past_key_values=out.past_key_values, use_cache=True
            )

    shown = captured(model, block)
    assert shown.steps == "pdd"
    assert {"vision", "projection", "prefill", "decode"} <= shown.phases
