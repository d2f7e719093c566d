"""`load_model` on real folders, and every refusal with its exit code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from layerscope.core.errors import EnvironmentProblem, LayerscopeError, ModelError
from layerscope.records import RunConfig
from layerscope.workload.architecture import build, find_architecture
from layerscope.workload.model import check_inputs, load_model, too_little_memory


def run_config(**changes: Any) -> RunConfig:
    base: dict[str, Any] = {
        "model": "tiny",
        "dataset": "synthetic-random",
        "device": "cpu",
        "dtype": "fp32",
    }
    return RunConfig(**(base | changes))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint in the hub's layout, in three shards."""
    folder = tmp_path_factory.mktemp("checkpoint")
    model: Any = build(
        find_architecture("tiny"),
        dtype=torch.float16,
        layout="from_pretrained",
        attention="sdpa",
        device="cpu",
        seed=9,
    )
    model.save_pretrained(folder, max_shard_size="4MB")
    assert len(list(folder.glob("*.safetensors"))) >= 2
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def refusal(**changes: Any) -> LayerscopeError:
    with pytest.raises(LayerscopeError) as caught:
        load_model(run_config(**changes))
    assert "\n" not in str(caught.value)
    return caught.value


def test_tiny_is_trained_and_says_on_what() -> None:
    loaded = load_model(run_config())
    assert loaded.record.trained
    assert loaded.record.source == "bundled"
    assert loaded.record.weights == "bundled, trained on synthetic data"
    assert not loaded.model.training
    assert loaded.record.params == 5_322_816
    assert loaded.record.attention == {"vision": "sdpa", "qformer": "sdpa", "language": "sdpa"}


def test_random_weights_follow_the_seed_and_the_layout() -> None:
    loaded = load_model(run_config(weights="random", seed=4, dtype="fp16"))
    assert loaded.record.weights == "random, seed 4, never trained"
    assert loaded.record.source == "architecture"
    assert not loaded.record.trained
    assert set(loaded.record.dtypes) == {"float16", "float32"}
    uniform = load_model(run_config(weights="random", dtype="fp16", dtype_layout="uniform"))
    assert set(uniform.record.dtypes) == {"float16"}


def test_a_local_folder_is_read_with_its_weights(saved: Path) -> None:
    loaded = load_model(run_config(model=str(saved), dtype="fp16"))
    assert loaded.record.source == "folder"
    assert loaded.record.weights == "pretrained"
    assert loaded.processor is None
    same: Any = build(
        find_architecture("tiny"),
        dtype=torch.float16,
        layout="from_pretrained",
        attention="sdpa",
        device="cpu",
        seed=9,
    )
    for (name, ours), (_, built) in zip(
        loaded.model.named_parameters(), same.named_parameters(), strict=True
    ):
        assert torch.equal(ours, built), name
    uniform = load_model(run_config(model=str(saved), dtype="fp16", dtype_layout="uniform"))
    assert uniform.record.dtypes == {"float16": 5_322_816}


def test_random_weights_for_a_folder_without_weights(saved: Path, tmp_path: Path) -> None:
    shutil.copy(saved / "config.json", tmp_path)
    assert load_model(run_config(model=str(tmp_path), weights="random")).record.params == 5_322_816
    error = refusal(model=str(tmp_path))
    assert error.exit_code == 4
    assert "no weights in it" in str(error)


def test_attention_is_recorded() -> None:
    record = load_model(run_config(weights="random", attention="eager")).record
    assert set(record.attention.values()) == {"eager"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_flash_and_cuda_are_refused_where_they_cannot_run() -> None:
    flash = refusal(weights="random", attention="flash", dtype="fp16")
    assert isinstance(flash, EnvironmentProblem)
    assert flash.exit_code == 3
    assert "--attention sdpa" in str(flash)
    cuda = refusal(device="cuda", model="no/such-model")
    assert isinstance(cuda, EnvironmentProblem)
    assert cuda.exit_code == 3
    assert "--device cpu" in str(cuda)


def test_no_vision_language_model(tmp_path: Path) -> None:
    assert "no config.json" in str(refusal(model=str(tmp_path)))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    error = refusal(model=str(tmp_path))
    assert error.exit_code == 4
    assert "model_type 'bert' is no model that takes images" in str(error)
    (tmp_path / "config.json").write_text('{"model_type": ')
    assert "cannot be read as JSON" in str(refusal(model=str(tmp_path)))
    assert "a file; give the folder" in str(refusal(model=str(tmp_path / "config.json")))
    assert "no such folder" in str(refusal(model=str(tmp_path / "absent" / "folder")))
    assert "--weights random" in str(refusal(model="instructblip-flan-t5-xl"))


def test_pickles(saved: Path, tmp_path: Path) -> None:
    shutil.copy(saved / "config.json", tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    error = refusal(model=str(tmp_path))
    assert isinstance(error, ModelError)
    assert "pickles (pytorch_model.bin)" in str(error)
    assert "save_pretrained" in str(error)


def test_a_missing_shard(copy: Path) -> None:
    shard = sorted(copy.glob("*.safetensors"))[-1]
    shard.unlink()
    assert f"1 of {len(list(copy.glob('*.safetensors'))) + 1} weight files" in (
        error := str(refusal(model=str(copy)))
    )
    assert shard.name in error


def test_a_truncated_shard_is_named(copy: Path) -> None:
    shard = sorted(copy.glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-1000])
    assert f"{shard}: damaged" in str(refusal(model=str(copy)))


def test_a_damaged_index(copy: Path) -> None:
    (copy / "model.safetensors.index.json").write_text("[]")
    assert "not an index of weight files" in str(refusal(model=str(copy)))
    (copy / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x.safetensors"}}')
    assert "names a file outside the folder" in str(refusal(model=str(copy)))


def test_weights_of_another_configuration(copy: Path) -> None:
    raw = json.loads((copy / "config.json").read_text())
    raw["vision_config"]["num_hidden_layers"] += 1
    (copy / "config.json").write_text(json.dumps(raw))
    assert "lack 12 parameters" in str(refusal(model=str(copy)))
    raw["vision_config"]["num_hidden_layers"] -= 1
    raw["qformer_config"]["vocab_size"] += 1
    (copy / "config.json").write_text(json.dumps(raw))
    assert "cannot be loaded" in str(refusal(model=str(copy)))


def test_image_sizes() -> None:
    error = refusal(image_size=230)
    assert error.exit_code == 4
    assert str(error) == (
        "--image-size 230: not a multiple of the vision patch size 14; use 224 or 238."
    )
    assert str(refusal(image_size=5)).endswith("use 14.")
    config = find_architecture("tiny").config
    check_inputs(run_config(image_size=230, image_size_mode="source"), config)
    check_inputs(run_config(image_size=448), config)


def test_text_lengths() -> None:
    config = find_architecture("tiny").config
    check_inputs(run_config(max_input_len=512), config)
    with pytest.raises(ModelError, match="513: the Q-Former has positions for 512"):
        check_inputs(run_config(max_input_len=513), config)


def test_a_decoder_only_language_model_shares_its_positions() -> None:
    from transformers import InstructBlipConfig

    config = InstructBlipConfig(
        text_config={"model_type": "opt", "max_position_embeddings": 100}, num_query_tokens=32
    )
    check_inputs(run_config(max_input_len=48, max_new_tokens=20), config)
    with pytest.raises(ModelError, match="need 101 positions; the language model has 100"):
        check_inputs(run_config(max_input_len=49, max_new_tokens=20), config)


def test_too_little_memory_names_both_numbers() -> None:
    error = too_little_memory(run_config(), 9 << 30, 4 << 30, 8 << 30)
    assert error.exit_code == 3
    assert "take 9.00 GiB" in str(error)
    assert "4.00 of 8.00 GiB free" in str(error)


def test_processors(tmp_path: Path) -> None:
    error = refusal(weights="random", processor=str(tmp_path))
    assert error.exit_code == 4
    assert "no processor in it" in str(error)
    assert "no such folder" in str(refusal(weights="random", processor="nowhere"))
    shared = Path(__file__).parents[4] / "shared/processors/instructblip-flan-t5"
    if not shared.is_dir():
        pytest.skip(f"{shared} is absent")
    loaded = load_model(run_config(weights="random", processor=str(shared)))
    assert loaded.processor is not None
    assert loaded.processor.num_query_tokens == 32
