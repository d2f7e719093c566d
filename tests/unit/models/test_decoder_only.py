"""FLOPs of language models and towers by hand, on sizes small enough to write out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from layerscope.core.errors import ModelError
from layerscope.models.closed_form import given_to
from layerscope.models.decoder_only import angles_by_product, language_parts, tower_flops


def test_two_steps_of_a_language_model_by_hand() -> None:
    # Width 4, two heads of 3 and one of keys and values, a feed-forward of 5, one layer, 7 words.
    text = SimpleNamespace(
        hidden_size=4, intermediate_size=5, num_attention_heads=2, num_key_value_heads=1,
        head_dim=3, num_hidden_layers=1, vocab_size=7,
    )  # fmt: skip
    weights = 4 * 6 + 4 * 3 + 4 * 3 + 6 * 4 + 3 * 4 * 5  # MACs a token
    first = 3 * weights + 2 * 3 * 3 * 6  # three tokens, and attention over three
    second = weights + 2 * 1 * 4 * 6
    found = language_parts(text, rows=2, prompt=3, steps=2)
    assert found == {"decoder": 2 * 2 * (first + second), "lm_head": 2 * 2 * 2 * 4 * 7}
    with_angles = language_parts(text, rows=2, prompt=3, steps=2, angles=3)
    assert with_angles["decoder"] - found["decoder"] == 2 * 3 * 2 * (3 // 2) * (3 + 1)


def test_a_tower_by_hand() -> None:
    vision = SimpleNamespace(hidden_size=4, intermediate_size=6, patch_size=2, num_hidden_layers=3)
    layer = 4 * 5 * 16 + 2 * 5 * 24 + 2 * 5 * 5 * 4
    assert tower_flops(vision, patches=4, tokens=5) == 2 * (4 * 12 * 4 + 3 * layer)


def test_how_a_version_makes_its_angles() -> None:
    class Product(nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return a @ b

    class Broadcast(nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return a * b

    assert angles_by_product(Product())
    assert not angles_by_product(Broadcast())


def test_a_part_that_was_not_called_is_named() -> None:
    with pytest.raises(ModelError, match=r"model\.visual was not seen"):
        given_to({}, "model.visual", "grid_thw")
    call = SimpleNamespace(args=(), kwargs={"other": 1})
    with pytest.raises(ModelError, match=r"model\.visual was called without grid_thw"):
        given_to({"model.visual": call}, "model.visual", "grid_thw")
