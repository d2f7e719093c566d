"""The training script as one would run it: interrupted, gone on with, and its result loaded."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def train(out: Path, *options: object) -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "train_tiny", "--smoke", "--device", "cpu",
         "--workers", "1", "--out", out, *map(str, options)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    out, package = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("package")
    first = train(out, "--minutes", 0)  # time for one step
    assert "stopped after 1 of 4 steps" in first
    return out, package, train(out, "--install", package)


def test_an_interrupted_training_goes_on(trained: tuple[Path, Path, str]) -> None:
    out, _, said = trained
    assert '"step": 4, "stage": "answer"' in said
    assert (out / "checkpoint.pt").is_file()
    assert not list(out.rglob("*.tmp"))


def test_the_result_loads_with_the_packages_own_configuration(
    trained: tuple[Path, Path, str],
) -> None:
    import shutil

    import torch
    from safetensors.torch import load_file
    from transformers import InstructBlipForConditionalGeneration

    from layerscope.workload.architecture import bundled_folder

    _, package, _ = trained
    stored = load_file(package / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert (package / "model.safetensors").stat().st_size <= 12_000_000
    shutil.copyfile(bundled_folder() / "config.json", package / "config.json")
    model, info = InstructBlipForConditionalGeneration.from_pretrained(
        package, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert model.dtype == torch.float32


def test_card_and_tables_say_what_was_done(trained: tuple[Path, Path, str]) -> None:
    _, package, _ = trained
    card = (package / "README.md").read_text(encoding="utf-8")
    for part in ("seed 20261124", "4 steps of 4 samples", "| 224 px |", "synthetic-textvqa"):
        assert part in card
    with (package / "held_out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["dataset"] for row in rows] == [
        "synthetic-coco", "synthetic-scienceqa", "synthetic-textvqa",
    ]  # fmt: skip
    assert all(row["samples"] == "4" for row in rows)
    assert "patches" in (package / "training_log.csv").read_text(encoding="utf-8")


def test_another_plan_does_not_go_on_from_this_one(trained: tuple[Path, Path, str]) -> None:
    out, _, _ = trained
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "train_tiny", "--device", "cpu", "--out", out],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "belongs to another plan" in done.stderr
    assert "Traceback" not in done.stderr
