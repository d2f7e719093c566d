"""Families of vision-language models, captured: phases, steps, calls, outputs, groups.

Each is built from its config alone, with random weights; ours are small enough for every run of the
tests, the larger ones beside the repository are for the slow runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from _pytest.mark import ParameterSet
from support.by_path import module_at
from support.families import FAMILIES
from support.families.parts import Builder
from support.family_check import (
    NEW_TOKENS,
    NOT_GENERATING,
    Shown,
    captured,
    check_capture,
    hooked_calls,
    run,
)
from support.shared import SHARED

from layerscope.models.roles import roles_of
from layerscope.runs.run import Run
from layerscope.workload.module_list import list_modules

# Of transformers 5.17, about what its own Mllama uses.
pytestmark = pytest.mark.filterwarnings("ignore:`hidden_state` is deprecated:FutureWarning")
STEPS = {"prefill", "decode"}
# What runs before the decoder; where nothing is said, a tower and a projection.
BEFORE = {
    "blip": {"vision"},
    "blip2_opt": {"vision", "qformer", "projection"},
    "blip2_t5": {"vision", "qformer", "projection", "encoder"},
    "chameleon": {"vision"},
    "donut": {"vision"},
    "emu3": {"vision"},
    "florence2": {"vision", "projection", "encoder"},
    "fuyu": {"projection"},
    "glm4v": {"vision"},
    "instructblip_t5": {"vision", "qformer", "projection", "encoder"},
    "instructblip_vicuna": {"vision", "qformer", "projection"},
    "instructblip_video": {"vision", "qformer", "projection"},
    "mamba": set(),
    "mixtral": set(),
    "pix2struct": {"vision"},
    "plain_llama": set(),
    "plain_t5": {"encoder"},
    "qwen2_5_vl": {"vision"},
    "qwen2_5_vl_video": {"vision"},
    "qwen2_vl": {"vision"},
    "qwen3_5": {"vision"},
    "qwen3_vl": {"vision"},
    "t5gemma2": {"vision", "projection", "encoder"},
    "udop": {"vision", "encoder"},
    "whisper": {"audio"},
}
# One call of the model; without words there is nothing to prefill.
ONE_CALL = {"vit_cls": {"forward"}, "clip": {"vision", "encoder", "projection", "other"}}
# Weights whose kind no pattern knows: places that are a parameter of the tower itself.
MOST_OTHER = {"got_ocr2": 0.12, "deepseek_vl_hybrid": 0.08, "udop": 0.10, "vit_cls": 1.0}


# In every run: the families that are asked for most, and one of each way to be built.
SLOW = (
    "aria", "cohere2_vision", "deepseek_vl", "deepseek_vl_hybrid", "emu3", "fuyu", "gemma4", "glm4v",
    "got_ocr2", "idefics", "janus", "kosmos2_5", "lfm2_vl", "llava_next_video", "llava_pixtral",
    "mamba", "qwen3_5", "trocr", "udop", "video_llama_3", "vipllava",
)  # fmt: skip


def family(name: str) -> ParameterSet:
    return pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])


@pytest.mark.parametrize("name", [family(name) for name in FAMILIES])
def test_a_family(name: str, tmp_path: Path) -> None:
    check_family(name, FAMILIES[name], tmp_path)


def check_family(name: str, build: Builder, folder: Path) -> Shown:
    model, inputs = build()
    shown = check_capture(model, inputs, folder / "t.json.gz")
    if name in NOT_GENERATING:
        assert shown.phases == ONE_CALL[name]
        assert shown.steps == ""
    else:
        assert shown.phases - {"other"} == STEPS | BEFORE.get(name, {"vision", "projection"})
        assert shown.steps == "p" + "d" * (NEW_TOKENS - 1)

    weights: Counter[str] = Counter()
    for module in list_modules(model):
        weights[module.group] += module.params
    assert weights["other"] <= MOST_OTHER.get(name, 0.05) * weights.total()
    return shown


def shared_zoo() -> dict[str, Builder]:
    path = SHARED / "cases" / "zoo.py"
    found: dict[str, Builder] = module_at(path).ZOO if path.exists() else {}
    return found  # empty, the test below is skipped


@pytest.mark.slow
@pytest.mark.parametrize("name", shared_zoo())
def test_a_model_of_the_shared_zoo(name: str, tmp_path: Path) -> None:
    check_family(name, shared_zoo()[name], tmp_path)


def test_two_towers_are_towers() -> None:
    """One is found by its attribute's name, the other says what it takes in."""
    roles = roles_of(FAMILIES["video_llava"]()[0])
    assert {fqn for fqn, role in roles.items() if role == "vision"} == {
        "model.image_tower",
        "model.video_tower",
    }
    roles = roles_of(FAMILIES["deepseek_vl_hybrid"]()[0])
    assert {fqn for fqn, role in roles.items() if role == "vision"} == {
        "model.vision_model",
        "model.high_res_vision_model",
    }


def test_a_tower_inside_an_encoder_is_not_the_encoder() -> None:
    roles = roles_of(FAMILIES["t5gemma2"]()[0])
    assert roles["model.encoder"] == "encoder"
    assert roles["model.encoder.vision_tower"] == "vision"
    assert roles["model.encoder.multi_modal_projector"] == "projection"


def again(name: str, trace: Path, how: Callable[[Any, dict[str, Any]], Any] = run) -> list[str]:
    """What the findings say of encoders that were called again."""
    model, inputs = FAMILIES[name]()
    captured(model, lambda: how(model, inputs), trace)
    found = Run.open(trace).findings
    assert found is not None
    return [one.sentence for one in found.seen if one.id.startswith("encoder-called-again")]


def naive_loop(model: Any, inputs: dict[str, Any]) -> Any:
    """No cache, and the pixels with every call."""
    given = dict(inputs)
    for _ in range(4):
        token = model(**given, use_cache=False).logits[:, -1:].argmax(-1)
        given["input_ids"] = torch.cat([given["input_ids"], token], 1)
        given["attention_mask"] = torch.ones_like(given["input_ids"])
    return given["input_ids"]


def test_an_encoder_that_runs_for_every_token_is_found(tmp_path: Path) -> None:
    tower, projector = sorted(again("llava", tmp_path / "t.json.gz", naive_loop), reverse=True)
    assert tower.startswith("model.vision_tower (vision) ran 4 times in 1 batch: ")
    assert projector.startswith("model.multi_modal_projector (projection) ran 4 times")
    # IDEFICS' resampler runs at each step from some version of transformers on.
    _, hooked = hooked_calls(*_ready("idefics"))
    assert len(again("idefics", tmp_path / "t.json.gz")) == (
        hooked["model.perceiver_resampler"] > 2
    )


def _ready(name: str) -> tuple[Any, Callable[[], Any]]:
    model, inputs = FAMILIES[name]()
    return model, lambda: run(model, inputs)


@pytest.mark.parametrize("name", ["llava_next", "instructblip_video", "video_llava", "chameleon"])
def test_tiles_frames_and_two_towers_are_one_call_each(name: str, tmp_path: Path) -> None:
    assert again(name, tmp_path / "t.json.gz") == []
