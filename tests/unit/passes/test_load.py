"""The dtype of a run: what the checkpoint is stored in, unless the user named one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from layerscope.config.resolve import resolve
from layerscope.passes.load import Ready, load_for
from layerscope.report.progress import ProgressReporter
from layerscope.workload.architecture import read_folder_architecture
from layerscope.workload.dtype_layout import stored_dtype
from layerscope.workload.model import LoadedModel, checkpoint_dtype
from layerscope.workload.module_list import model_record

LLAVA = {
    "model_type": "llava",
    "text_config": {"model_type": "llama"},
    "vision_config": {"model_type": "clip_vision_model"},
}


def a_folder(root: Path, **more: Any) -> Path:
    folder = root / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAVA | more), encoding="utf-8")
    save_file({"w": torch.zeros(1)}, folder / "model.safetensors")
    return folder


def ready(**given: Any) -> Ready:
    """What a run on CUDA would be, with a stand-in for its model."""

    def load(config: Any, announce: Any) -> LoadedModel:
        net = nn.Linear(1, 1)
        net.config = read_folder_architecture(Path(config.model), name="x").config
        record = model_record(
            net, name="x", source="folder", weights="", trained=True, revision=None
        )
        return LoadedModel(model=net, processor=None, record=record)

    resolved = resolve(given, cuda=True)
    return load_for(resolved, ProgressReporter(sys.stderr, quiet=True), lambda line: None, load)


def test_a_checkpoint_s_own_half_precision_is_taken_and_said(tmp_path: Path) -> None:
    # The key of older files, at the place where most keep it, and within the text model.
    folder = a_folder(tmp_path, torch_dtype="bfloat16")
    found = ready(model=str(folder))
    assert found.config.dtype == "bf16"
    assert found.planned == {"dtype": "fp16"}
    assert "dtype bf16: what the checkpoint is stored in" in found.choices
    assert not any("default on cuda" in choice for choice in found.choices)


@pytest.mark.parametrize("stored", ["float32", None])
def test_a_checkpoint_in_fp32_or_of_unknown_dtype_runs_in_fp16(
    tmp_path: Path, stored: str | None
) -> None:
    folder = a_folder(tmp_path, **({"dtype": stored} if stored else {}))
    found = ready(model=str(folder))
    assert (found.config.dtype, found.planned) == ("fp16", {})


def test_what_the_user_named_stays(tmp_path: Path) -> None:
    folder = a_folder(tmp_path, dtype="bfloat16")
    assert ready(model=str(folder), dtype="fp16").config.dtype == "fp16"
    assert ready(model=str(folder), device="cpu").config.dtype == "fp32"


def test_the_text_model_s_dtype_counts_where_the_whole_has_none() -> None:
    class Config:
        dtype: torch.dtype | None = None

    whole, text = Config(), Config()
    text.dtype = torch.bfloat16
    whole.text_config = text  # type: ignore[attr-defined]
    assert stored_dtype(whole) == "bf16"
    assert stored_dtype(Config()) is None


def test_shipped_architectures_say_what_their_checkpoints_are_stored_in() -> None:
    for model, dtype in (
        ("qwen2.5-vl-7b-instruct", "bf16"),
        ("gemma-3-4b-it", "bf16"),
        ("llava-1.5-7b-hf", "fp16"),
        ("instructblip-flan-t5-xl", None),
    ):
        config = resolve({"model": model, "weights": "random", "device": "cpu"}, cuda=False).config
        assert checkpoint_dtype(config) == dtype
