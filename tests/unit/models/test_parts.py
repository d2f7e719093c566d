"""Which parts of a model are compiled: found by role, several layers each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.architectures import ARCHITECTURES
from support.small_model import SMALL, SMALL_LLAMA, small_yaml
from torch import nn
from transformers import CONFIG_MAPPING

from layerscope.models.parts import parts_of
from layerscope.workload.architecture import find_architecture, without_weights


def parts(model: nn.Module) -> list[str]:
    return [part.fqns[0] for part in parts_of(model)]


def described(name: str) -> nn.Module:
    raw: Any = ARCHITECTURES[name]
    return without_weights(CONFIG_MAPPING[raw["model_type"]].from_dict(raw))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llava", ["model.vision_tower", "model.multi_modal_projector", "model.language_model"]),
        ("qwen2_5_vl", ["model.visual", "model.language_model"]),  # the merger lies in the tower
        ("smolvlm", ["model.vision_model", "model.connector", "model.text_model"]),
        ("blip2", ["vision_model", "qformer", "language_model"]),  # its projection is one layer
        ("florence2", ["model.vision_tower", "model.multi_modal_projector",
                       "model.language_model.encoder", "model.language_model"]),
    ],
)  # fmt: skip
def test_parts_are_found_by_role(name: str, expected: list[str]) -> None:
    assert parts(described(name)) == expected


@pytest.mark.parametrize("text", [SMALL, SMALL_LLAMA])
def test_those_of_instructblip_are_what_they_were(text: str, tmp_path: Path) -> None:
    found = parts(without_weights(find_architecture(str(small_yaml(tmp_path, text))).config))
    encoder = ["language_model.encoder"] if text is SMALL else []
    assert found == ["vision_model", "qformer", *encoder, "language_model"]


def test_the_step_may_be_any_module_from_the_language_model_to_its_decoder() -> None:
    (step,) = (part for part in parts_of(described("florence2")) if part.is_step)
    assert step.fqns == ("model.language_model", "model.language_model.decoder")
    (step,) = (part for part in parts_of(described("llava")) if part.is_step)
    assert step.fqns == ("model.language_model",)


def test_a_model_that_says_no_roles_has_none() -> None:
    assert parts_of(nn.Sequential(nn.Linear(2, 2))) == ()
