"""FlashAttention by part: what runs, what refuses and why; the classes' own declarations."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import LlamaConfig

from layerscope.config.resolve import resolve
from layerscope.core.errors import EnvironmentProblem
from layerscope.records import RunConfig
from layerscope.workload import flash
from layerscope.workload.architecture import find_architecture
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
