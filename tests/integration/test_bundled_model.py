"""The bundled model as a user runs it: it answers, and image size and input length change its WER."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.command import layerscope

SAMPLES = 40


def wer(out: Path, dataset: str, image_size: int, max_input_len: int) -> float:
    """Of one run of the command."""
    done = layerscope(
        "profile", "--model", "tiny", "--device", "cpu", "--dataset", dataset, "--image-size",
        str(image_size), "--max-input-len", str(max_input_len), "--batch", "8", "--samples",
        str(SAMPLES), "--warmup", "1", "--measure-limit-s", "0.1", "--no-trace", "--out", out, "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = out.iterdir()
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["model"]["weights"] == "bundled, trained on synthetic data"
    return float(record["report"]["wer_value"]["value"])


def test_small_letters_are_lost_in_a_small_image(tmp_path: Path) -> None:
    large = wer(tmp_path / "large", "synthetic-textvqa", 448, 200)
    small = wer(tmp_path / "small", "synthetic-textvqa", 224, 200)
    assert large < 0.25
    assert small > large + 0.1


def test_a_deciding_word_is_lost_in_a_short_input(tmp_path: Path) -> None:
    whole = wer(tmp_path / "whole", "synthetic-scienceqa", 224, 200)
    cut = wer(tmp_path / "cut", "synthetic-scienceqa", 224, 50)
    assert whole < 0.25
    assert cut > whole + 0.1


def test_a_caption_needs_neither(tmp_path: Path) -> None:
    assert wer(tmp_path / "run", "synthetic-coco", 224, 50) < 0.1
