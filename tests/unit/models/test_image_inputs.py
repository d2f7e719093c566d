"""Random images as each model takes them: shapes, tokens, and what the model makes of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.architectures import ARCHITECTURES
from torch import nn

from layerscope.core.errors import ModelError, UsageError
from layerscope.models.image_inputs import image_token, random_images, tokens_of
from layerscope.models.image_sizes import (
    Pixels,
    _grid_of,
    fixed_side,
    plain_size,
    size_for_tokens,
    sizes_in_tiles,
)

pytestmark = pytest.mark.models


def built(name: str) -> Any:
    from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

    raw = copy.deepcopy(ARCHITECTURES[name])
    kind: Any = CONFIG_MAPPING[raw["model_type"]]
    auto: Any = AutoModelForImageTextToText
    attention = "eager" if name == "paligemma2" else "sdpa"
    return auto.from_config(kind.from_dict(raw), attn_implementation=attention).eval()


# Side asked for -> shapes of one sample's inputs and the tokens it becomes, by hand from the configs.
# 56 px and patches of 14 are 4 × 4 patches; 112 px are 2 × 2 such tiles, and the whole once more.
WANTED: dict[str, tuple[int, dict[str, tuple[int, ...]], int]] = {
    "llava": (112, {"pixel_values": (1, 3, 56, 56)}, 16),
    # The whole (16), then 8 rows of 8 patches and a newline each.
    "llava_next": (112, {"pixel_values": (1, 5, 3, 56, 56), "image_sizes": (1, 2)}, 16 + 8 * 9),
    "llava_onevision": (112, {"pixel_values": (1, 5, 3, 56, 56), "image_sizes": (1, 2)}, 16 + 8 * 9),
    "qwen2_5_vl": (120, {"pixel_values": (64, 1176), "image_grid_thw": (1, 3)}, 16),
    "qwen3_vl": (130, {"pixel_values": (64, 1536), "image_grid_thw": (1, 3)}, 16),
    "idefics3": (
        112, {"pixel_values": (1, 5, 3, 56, 56), "pixel_attention_mask": (1, 5, 56, 56)}, 5 * 4,
    ),
    "smolvlm": (
        56, {"pixel_values": (1, 1, 3, 56, 56), "pixel_attention_mask": (1, 1, 56, 56)}, 4,
    ),
    "paligemma2": (112, {"pixel_values": (1, 3, 56, 56)}, 16),
    "gemma3": (112, {"pixel_values": (1, 3, 56, 56)}, 4),
    "internvl": (112, {"pixel_values": (5, 3, 56, 56)}, 5 * 4),
    "blip2": (112, {"pixel_values": (1, 3, 112, 112)}, 8),
    "florence2": (130, {"pixel_values": (1, 3, 128, 128)}, 4 * 4 + 1),
    "mistral3": (112, {"pixel_values": (1, 3, 112, 112), "image_sizes": (1, 2)}, 4 * 4),
    "aya_vision": (56, {"pixel_values": (1, 3, 56, 56)}, 4),
}  # fmt: skip


def test_every_architecture_has_a_case() -> None:
    assert set(WANTED) == set(ARCHITECTURES)


@pytest.mark.parametrize("name", WANTED)
def test_shapes_and_tokens(name: str) -> None:
    side, shapes, tokens = WANTED[name]
    model = built(name)
    images = random_images(model, plain_size(model, side), [torch.randn])
    assert {key: tuple(tensor.shape) for key, tensor in images.items()} == shapes
    assert tokens_of(model, images) == tokens
    assert image_token(model.config) == 990


def test_a_sample_is_the_same_beside_others() -> None:
    def draw(value: float) -> Any:
        return lambda shape: torch.full(shape, value)

    for name in ("llava", "qwen2_5_vl", "idefics3"):
        model = built(name)
        size = plain_size(model, 56)
        one = random_images(model, size, [draw(2.0)])["pixel_values"]
        three = random_images(model, size, [draw(1.0), draw(2.0), draw(3.0)])["pixel_values"]
        rows = len(three) // 3
        assert torch.equal(three[rows : 2 * rows], one)


@pytest.mark.parametrize(("name", "side"), [("llava", 56), ("gemma3", 56), ("paligemma2", 56)])
def test_a_tower_of_one_size_says_so(name: str, side: int) -> None:
    assert fixed_side(built(name)) == side


@pytest.mark.parametrize(
    "name", ["qwen2_5_vl", "llava_next", "idefics3", "internvl", "blip2", "mistral3"]
)
def test_a_tower_of_many_sizes_says_so(name: str) -> None:
    assert fixed_side(built(name)) is None


def counted(model: Any) -> Any:
    return lambda size: tokens_of(model, random_images(model, size, [torch.randn]))


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl", "mistral3"])
@pytest.mark.parametrize("tokens", [6, 64, 128, 512])
def test_image_tokens_as_asked_for(name: str, tokens: int) -> None:
    model = built(name)
    assert counted(model)(size_for_tokens(model, tokens, counted(model))) == tokens


# Tokens asked for -> those that tiles of 56 px make, by hand: 4 a tile and 4 of the whole; LLaVA's
# 16 a tile with a newline behind each of 4 or 8 rows, and 16 of the whole.
TILED = {
    "idefics3": {4: 4, 11: 4, 12: 12, 13: 12, 20: 20, 30: 28, 10_000: 37 * 4},
    "internvl": {4: 4, 19: 12, 20: 20},
    "aya_vision": {12: 12},
    "llava_next": {
        55: 16 + 4 * 9,
        56: 16 + 8 * 5,
        87: 16 + 8 * 5,
        88: 16 + 8 * 9,
        5000: 16 + 8 * 9,
    },
}


@pytest.mark.parametrize("name", TILED)
def test_tiles_come_as_near_as_they_can(name: str) -> None:
    model = built(name)
    for asked, wanted in TILED[name].items():
        size = size_for_tokens(model, asked, counted(model))
        assert counted(model)(size) == wanted, (asked, size)


def test_sizes_in_tiles_grow_and_are_not_long() -> None:
    for name in ("internvl", "smolvlm"):
        sizes = sizes_in_tiles(built(name))
        areas = [size.area for size in sizes]
        assert areas == sorted(areas)
        assert max(size.elongation for size in sizes) == 2
        assert (sizes[0], sizes[-1]) == (Pixels(56, 56), Pixels(336, 336))


@given(st.integers(min_value=1, max_value=20_000))
@settings(max_examples=300)
def test_a_grid_never_exceeds_what_was_asked_and_comes_near(tokens: int) -> None:
    rows, columns = _grid_of(tokens)
    assert rows <= columns <= 2 * rows
    assert tokens - 2 * rows <= rows * columns <= tokens


def test_refusals() -> None:
    llava, tiled = built("llava"), built("internvl")
    with pytest.raises(UsageError, match=r"--image-tokens 64: LlavaFor"):
        size_for_tokens(llava, 64, counted(llava))
    with pytest.raises(UsageError, match=r"makes 4 or more tokens of an image"):
        size_for_tokens(tiled, 3, counted(tiled))
    with pytest.raises(UsageError, match=r"--image-tokens 0: an image becomes one token or more"):
        size_for_tokens(tiled, 0, counted(tiled))
    with pytest.raises(UsageError, match=r"the least that Qwen2_5_VL.* takes is 28 px"):
        plain_size(built("qwen2_5_vl"), 27)

    class Silent(nn.Module):
        config = type("Config", (), {"model_type": "my_own"})()

    with pytest.raises(ModelError, match=r"Silent: layerscope does not know .* --processor FOLDER"):
        random_images(Silent(), Pixels(56, 56), [torch.randn])


def test_what_a_model_refuses_is_one_line() -> None:
    model = built("llava")
    with pytest.raises(ModelError, match=r"LlavaFor.*get_image_features\(\) does not take"):
        tokens_of(model, {"pixel_values": torch.randn(1, 3, 20, 20)})
