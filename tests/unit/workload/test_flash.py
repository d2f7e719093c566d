"""FlashAttention by part: what runs, what refuses and why; the classes' own declarations."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from support.architectures import ARCHITECTURES
from support.families import FAMILIES
from transformers import CONFIG_MAPPING, LlamaConfig

from layerscope.config.resolve import resolve
from layerscope.core.errors import EnvironmentProblem
from layerscope.records import RunConfig
from layerscope.workload import flash
from layerscope.workload.architecture import (
    Architecture,
    build,
    find_architecture,
    without_weights,
)
from layerscope.workload.flash import FLASH, attention_request, flash_verdicts, wants_flash


def run(**given: Any) -> RunConfig:
    base = {
        "model": "tiny", "weights": "random", "dataset": "synthetic-random", "device": "cuda",
        "dtype": "fp16", "optimization": "flash",
    }  # fmt: skip
    return resolve(base | given, cuda=True).config


@pytest.fixture
def model() -> Any:
    return find_architecture("tiny").config


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash, "_PACKAGE", "json")  # a package that is installed


def refusals(config: RunConfig, model: Any) -> dict[str, str]:
    try:
        return {v.part: v.refusal for v in flash_verdicts(config, model)}
    except EnvironmentProblem as error:
        found = str(error).split("can run FlashAttention: ")[1].split(". Use")[0]
        return dict(part.split(": ", 1) for part in found.split("; "))


@pytest.mark.usefixtures("package")
def test_the_vision_tower_and_the_qformer_run_it_and_t5_cannot(model: Any) -> None:
    verdicts = flash_verdicts(run(), model)
    assert [(v.part, bool(v.refusal)) for v in verdicts] == [
        ("vision_model", False), ("qformer", False), ("language_model", True),
    ]  # fmt: skip
    assert "position bias" in str(verdicts[2])
    assert str(verdicts[0]) == f"vision_model: runs {FLASH}"
    assert attention_request(run(), verdicts) == {
        "": "sdpa", "vision_config": FLASH, "qformer_config": FLASH, "text_config": "sdpa",
    }  # fmt: skip
    eager = run(attention="eager")
    assert attention_request(eager, verdicts)["text_config"] == "eager"  # type: ignore[index]


@pytest.mark.usefixtures("package")
def test_a_decoder_only_language_model_may_run_it(model: Any) -> None:
    model.text_config, model.use_decoder_only_language_model = LlamaConfig(), True
    assert refusals(run(), model)["language_model"] == ""


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"dtype": "fp32"}, "needs fp16 or bf16, the run is in fp32"),
        ({"device": "cpu"}, "needs a CUDA device, the run is on the cpu"),
    ],
)
def test_where_nothing_can_run_it_each_part_says_why(
    model: Any, given: dict[str, Any], why: str
) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        flash_verdicts(run(**given), model)
    assert caught.value.exit_code == 3
    assert str(caught.value).startswith("--optimization flash: no part of the model")
    found = refusals(run(**given), model)
    assert why in found["vision_model"]
    assert why in found["qformer"]
    assert "position bias" in found["language_model"]


def test_without_the_package(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash, "_PACKAGE", "no_such_package_here")
    assert refusals(run(), model)["qformer"] == "the package flash-attn is not installed"
    with pytest.raises(EnvironmentProblem, match=r"^--attention flash"):
        flash_verdicts(run(optimization="eager", attention="flash"), model)


def test_who_wants_it() -> None:
    assert wants_flash(run())
    assert wants_flash(run(optimization="compile", attention="flash"))
    assert not wants_flash(run(optimization="eager"))
    assert attention_request(run(optimization="eager", attention="eager")) == "eager"


@pytest.mark.usefixtures("package")
def test_the_xl_architecture_is_judged_without_building_it() -> None:
    config = find_architecture("instructblip-flan-t5-xl").config
    assert [v.part for v in flash_verdicts(run(), config) if not v.refusal] == [
        "vision_model", "qformer",
    ]  # fmt: skip


def of(name: str) -> Any:
    raw: Any = ARCHITECTURES[name]
    return CONFIG_MAPPING[raw["model_type"]].from_dict(raw)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("llava", {"model.vision_tower": "", "model.language_model": ""}),
        ("qwen2_5_vl", {"model.visual": "", "model.language_model": ""}),
        ("idefics3", {"model.vision_model": "", "model.text_model": ""}),
        ("blip2", {"vision_model": "", "qformer": "", "language_model": ""}),
        ("florence2", {"model.vision_tower": "", "model.language_model": ""}),
    ],
)
def test_each_part_of_any_model_has_its_verdict(name: str, parts: dict[str, str]) -> None:
    verdicts = flash_verdicts(run(), of(name))
    assert {v.part for v in verdicts} == set(parts)
    for verdict in verdicts:
        cls = verdict.refusal.partition(" ")[0]
        declared = supports_flash_of(name, verdict.part)
        assert bool(verdict.refusal) != declared, verdict
        if verdict.refusal:
            assert verdict.refusal == f"{cls} declares no FlashAttention"
    asked = attention_request(run(), verdicts)
    assert asked == {
        "": "sdpa", **{v.key: "sdpa" if v.refusal else FLASH for v in verdicts},
    }  # fmt: skip


def supports_flash_of(name: str, part: str) -> bool:
    """What the class of a part declares, read off the model itself."""
    module = without_weights(of(name)).get_submodule(part)
    return bool(getattr(type(module), "_supports_flash_attn", False))


@pytest.mark.usefixtures("package")
def test_a_decoder_with_the_whole_models_configuration_is_a_part() -> None:
    model, _ = FAMILIES["chameleon"]()
    *_, verdict = flash_verdicts(run(), model.config)
    assert (verdict.part, verdict.key, verdict.refusal) == ("model", "", "")


@pytest.mark.usefixtures("package")
def test_a_loaded_model_has_the_attention_that_was_asked_for_each_part() -> None:
    """`eager` stands for FlashAttention-2, which needs the package and a GPU."""
    verdicts = flash_verdicts(run(), of("blip2"))
    verdicts = (dataclasses.replace(verdicts[0], refusal="it may not"), *verdicts[1:])
    found = attention_request(run(), verdicts)
    assert isinstance(found, dict)
    asked: Any = {key: "eager" if what == FLASH else what for key, what in found.items()}
    model: Any = build(
        Architecture("blip2", of("blip2"), separate_head=False), dtype=torch.float32,
        layout="uniform", attention=asked, device="cpu", seed=0,
    )  # fmt: skip
    assert [model.get_submodule(v.part).config._attn_implementation for v in verdicts] == [
        "eager" if not v.refusal else "sdpa" for v in verdicts
    ]
