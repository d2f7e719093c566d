"""`layerscope profile` on vision-language models of many kinds, and what its files say and add up to."""

from __future__ import annotations

import csv
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from support.architectures import ARCHITECTURES
from support.command import layerscope
from support.processors import save_blip2, save_idefics3, save_llava

from layerscope.runs.run import Run

pytestmark = [pytest.mark.models, pytest.mark.command]

STEPS = 4
# In the default run: one model of each way of taking images.
OFTEN = ("llava", "qwen2_5_vl", "idefics3")
NAMES = [
    name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES
]
_BESIDE = {"blip2": {"qformer"}, "florence2": {"encoder"}}


def profiled(tmp_path: Path, model: Path, *more: str | int | Path) -> Path:
    out = tmp_path / "runs"
    done = layerscope(
        "profile", "--model", model, "--device", "cpu", "--batch", 2, "--samples", 2,
        "--warmup", 1, "--max-input-len", 12, "--max-new-tokens", STEPS,
        "--measure-limit-s", 0.1, "--out", out, "-v", *more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = out.iterdir()
    (tmp_path / "screen.txt").write_text(done.stdout, encoding="utf-8")
    return folder


def described(tmp_path: Path, name: str) -> Path:
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(ARCHITECTURES[name]), encoding="utf-8")
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_random_weights(name: str, tmp_path: Path) -> None:
    folder = profiled(tmp_path, described(tmp_path, name), "--weights", "random")
    saved, table = record(folder), rows(folder / "layers.csv")
    assert saved["account"]["status"] == "ok", saved["account"]["failures"]
    # Every number adds up.
    total_us = sum(Decimal(row["cpu_self_us"]) for row in table)
    assert total_us == Decimal(f"{saved['account']['host_window_us']:.3f}")
    counted = sum(int(row["flops_self"]) for row in table if row["flops_self"])
    assert counted == saved["report"]["flops"]["value"] > 0
    # The phases are the model's own, and one prefill goes before the decoder's other steps.
    phases = {row["phase"] for row in table}
    assert {"vision", "prefill", "decode", "other"} | _BESIDE.get(name, set()) <= phases
    steps = rows(folder / "steps.csv")
    assert [row["phase"] for row in steps] == ["prefill"] + ["decode"] * (STEPS - 1)
    calls = Counter[str]()
    for row in table:
        if row["phase"] in ("prefill", "decode") and row["layer"].endswith("layers.0.self_attn"):
            calls[row["phase"]] += int(row["calls"])
    if "encoder" not in phases:
        assert calls == {"prefill": 1, "decode": STEPS - 1}
    # What reached the model is recorded.
    assert f"-b2-{saved['config']['image_size']}px-" in folder.name
    (batch,) = saved["workload"]["batches"]
    assert batch["image_tokens"][0] == batch["image_tokens"][1] >= 4
    assert batch["shapes"]["input_ids"][1] >= batch["image_tokens"][0] + 12
    assert tuple(batch["pixel_values_shape"]) == tuple(batch["shapes"]["pixel_values"])


def test_image_tokens_as_asked_for(tmp_path: Path) -> None:
    folder = profiled(
        tmp_path, described(tmp_path, "qwen2_5_vl"), "--weights", "random", "--image-tokens", 128
    )
    (batch,) = record(folder)["workload"]["batches"]
    assert batch["image_tokens"] == [128, 128]
    assert batch["shapes"]["image_grid_thw"] == [2, 3]
    assert batch["shapes"]["pixel_values"] == [2 * 128 * 4, 1176]
    assert "-b2-128tokens-" in folder.name
    assert "image 128 tokens" in (tmp_path / "screen.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "qwen3_vl"])
def test_flops_are_those_of_torch_of_a_closed_form_and_of_fvcore(name: str, tmp_path: Path) -> None:
    """At a size that windows and patches do not divide; to the last digit."""
    size = [] if name == "llava" else ["--image-size", 330]
    done = layerscope(
        "flops", "--model", described(tmp_path, name), "--weights", "random", "--device", "cpu",
        "--batch", 3, "--max-input-len", 12, "--max-new-tokens", STEPS, *size,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "6 checks: 6 equal" in done.stdout


@pytest.mark.parametrize("save", [save_llava, save_blip2])
def test_a_folder_with_its_processor(save: Any, tmp_path: Path) -> None:
    """Answers are cut from the prompt, with a chat template and without one."""
    model = tmp_path / "model"
    save(model)
    folder = profiled(tmp_path, model, "--dataset", "synthetic-textvqa")
    saved = record(folder)
    assert saved["account"]["status"] == "ok", saved["account"]["failures"]
    (batch,) = saved["workload"]["batches"]
    assert batch["image_tokens"] == ([16, 16] if save is save_llava else [8, 8])
    assert min(batch["text_lengths"]) > 5
    for row in rows(folder / "predictions.csv"):
        assert row["prompt"]
        assert "USER" not in row["prediction"]
        assert "Short answer" not in row["prediction"]
    assert saved["report"]["wer_value"]["value"] is not None
    page = tmp_path / "report.html"
    assert layerscope("report", folder, "--html", page).returncode == 0
    assert "prefill" in page.read_text(encoding="utf-8")
    compared = layerscope("compare", folder, folder)
    assert compared.returncode == 0, compared.stderr
    assert Run.open(folder).account is not None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--image-size", "112"], "LlavaForConditionalGeneration takes images of 56 px alone"),
        (["--image-tokens", "64"], "takes no grid of patches"),
        (["--optimize", "cudagraphs"], "--optimize cudagraphs: CUDA graphs need a CUDA device"),
        (
            ["--optimize", "flash"],
            "--optimize flash: no part of the model can run FlashAttention: model.vision_tower: "
            "FlashAttention-2 needs fp16 or bf16, the run is in fp32; model.language_model: Flash",
        ),
        (["--dataset", "synthetic-textvqa"], "needs a processor and the model has none"),
    ],
)
def test_what_a_model_cannot_take_is_one_line(more: list[str], said: str, tmp_path: Path) -> None:
    done = layerscope(
        "profile", "--model", described(tmp_path, "llava"), "--weights", "random",
        "--device", "cpu", "--batch", 2, "--samples", 2, "--out", tmp_path / "out", *more,
    )  # fmt: skip
    assert done.returncode in (2, 3, 4), done.stderr
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_rule_4_holds_the_trace_to_the_calls_that_hooks_counted(tmp_path: Path) -> None:
    folder = profiled(tmp_path, described(tmp_path, "llava"), "--weights", "random")
    work = json.loads((folder / "work.json").read_text(encoding="utf-8"))
    calls = Counter[str]()
    for row in work["rows"]:
        calls[row["layer"]] += row["calls"]
    assert calls["model.language_model.layers.1.mlp"] == STEPS
    assert calls["model.vision_tower.encoder.layers.0"] == 1
    assert calls["model.language_model.layers"] == 0  # a list is called by no one
    assert "rule 4" not in (tmp_path / "screen.txt").read_text(encoding="utf-8")
    mlp = next(r for r in work["rows"] if r["layer"] == "model.language_model.layers.1.mlp")
    mlp["calls"] += 1
    (folder / "work.json").write_text(json.dumps(work), encoding="utf-8")
    again = layerscope("layers", folder)
    assert again.returncode != 0
    assert "model.language_model.layers.1.mlp: 4 calls" in again.stderr


def test_images_of_ones_own_reach_the_model_at_their_own_sizes(tmp_path: Path) -> None:
    model, images = tmp_path / "model", tmp_path / "images"
    save_llava(model)
    images.mkdir()
    for number, size in enumerate([(60, 80), (200, 120)]):
        Image.new("RGB", size, (90, 40, number)).save(images / f"{number}.png")
    folder = profiled(tmp_path, model, "--images", images, "--prompt", "What is it?")
    saved = record(folder)
    assert saved["workload"]["dataset"] == "images"
    assert saved["workload"]["prompt"] == "What is it?"
    assert saved["config"]["image_size_mode"] == "processor"
    assert "-own-sizes-" in folder.name
    assert [row["sample_id"] for row in rows(folder / "predictions.csv")] == ["0.png", "1.png"]
    assert saved["report"]["wer_value"]["reason"] == "the data set has no reference answers"


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        (["--image-tokens", 13], 12),
        pytest.param(["--image-size", 56], 4, marks=pytest.mark.slow),
    ],
)
def test_a_processor_that_enlarges_images_takes_the_size_asked_for(
    more: list[str | int], tokens: int, tmp_path: Path
) -> None:
    model, images = tmp_path / "model", tmp_path / "images"
    try:
        save_idefics3(model)
    except ImportError as error:  # transformers 5.17 has it with torchvision alone
        pytest.skip(f"this processor: {str(error).strip().splitlines()[0]}")
    images.mkdir()
    Image.new("RGB", (300, 200), (90, 40, 7)).save(images / "one.png")
    folder = profiled(tmp_path, model, "--images", images, "--prompt", "What is it?", *more)
    (batch,) = record(folder)["workload"]["batches"]
    assert batch["image_tokens"] == [tokens, tokens]


@pytest.mark.slow
def test_a_sweep_over_image_tokens_and_one_over_a_fixed_size(tmp_path: Path) -> None:
    base = {
        "weights": "random", "device": "cpu", "batch_size": 2, "samples": 2, "warmup": 1,
        "measure_limit_s": 0.1, "max_input_len": 12, "max_new_tokens": 3,
    }  # fmt: skip
    grid = {"image_tokens": [16, 64]}
    over = tmp_path / "tokens.yaml"
    model = str(described(tmp_path, "qwen2_5_vl"))
    over.write_text(yaml.safe_dump({"base": {**base, "model": model}, "grid": grid}))
    done = layerscope("sweep", over, "--out", tmp_path / "tokens")
    assert done.returncode == 0, done.stderr
    table = rows(tmp_path / "tokens" / "sweep.csv")
    assert [row["image_tokens_seen"] for row in table] == ["16", "64"]
    assert [row["pixels_seen"] for row in table] == ["", ""]
    assert "64 image tokens, 14 text, 3 steps" in done.stdout
    # The model decides its size; a finished cell is still the one that was planned.
    model = str(described(tmp_path, "llava"))
    over.write_text(yaml.safe_dump({"base": {**base, "model": model}, "grid": {"seed": [0, 1]}}))
    for _ in range(2):
        done = layerscope("sweep", over, "--out", tmp_path / "seeds")
        assert done.returncode == 0, done.stderr
    assert "2 cells, 2 finished, 0 to run" in done.stdout + done.stderr
    assert {row["image_size"] for row in rows(tmp_path / "seeds" / "sweep.csv")} == {"56"}
    over.write_text(
        yaml.safe_dump({"base": {**base, "model": model}, "grid": {"image_size": [28, 56]}})
    )
    done = layerscope("sweep", over, "--out", tmp_path / "sizes")
    assert "takes images of 56 px alone" in done.stdout
