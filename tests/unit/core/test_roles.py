"""Roles by FQN: what of a model is its language model."""

from __future__ import annotations

from layerscope.core.roles import Roles, language_model_of


def test_the_outermost_module_around_the_decoder_without_a_tower() -> None:
    roles: Roles = {
        "model.visual": "vision", "model.language_model": "decoder", "lm_head": "head",
    }  # fmt: skip
    assert language_model_of(roles) == "model.language_model"
    assert language_model_of({"language_model.decoder": "decoder", "eye": "vision"}) == (
        "language_model"
    )
    assert language_model_of({}) == ""


def test_a_decoder_that_holds_a_tower_is_the_language_model_itself() -> None:
    """GIT's: nothing around it is free of what stands before a step."""
    roles: Roles = {"git": "decoder", "git.image_encoder": "vision", "output": "head"}
    assert language_model_of(roles) == "git"
