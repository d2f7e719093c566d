"""Architectures: the shipped XL to its last parameter, the tiny one, one's own files, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import LlavaConfig, LlavaForConditionalGeneration

from layerscope.core.errors import ModelError
from layerscope.workload.architecture import (
    Architecture,
    build,
    built_bytes,
    bundled_folder,
    find_architecture,
    read_yaml_architecture,
    without_weights,
)
from layerscope.workload.checkpoint import read_model

XL = "instructblip-flan-t5-xl"


def built(architecture: Architecture, **changes: Any) -> Any:
    choices: dict[str, Any] = {
        "dtype": torch.float32,
        "layout": "from_pretrained",
        "attention": "sdpa",
        "device": "cpu",
        "seed": 0,
    }
    return build(architecture, **(choices | changes))


def tiny_raw() -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((bundled_folder() / "config.json").read_text())
    return raw


def write_yaml(folder: Path, raw: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def inputs(image_size: int, batch: int = 2) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(6, 1000, (batch, 9), generator=generator)
    ids = torch.cat([torch.full((batch, 32), 3), text], 1)
    return {
        "pixel_values": torch.randn(batch, 3, image_size, image_size, generator=generator),
        "qformer_input_ids": text,
        "qformer_attention_mask": torch.ones_like(text),
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
    }


def test_xl_has_the_published_size() -> None:
    """By hand: T5 32128 x 2048 twice, 24 + 24 blocks; wo is 48 matrices of 5120 x 2048."""
    architecture = find_architecture(XL)
    with torch.device("meta"):
        model = built(architecture, dtype=torch.float16, device="meta")
    assert len(list(model.named_modules())) - 1 == 1866
    assert sum(p.numel() for p in model.parameters()) == 4_022_969_088
    wo = sum(p.numel() for n, p in model.named_parameters() if n.endswith("wo.weight"))
    assert wo == 48 * 5120 * 2048
    fp32 = wo + 32 * 768 + 30523 * 768
    size = built_bytes(architecture, dtype=torch.float16, layout="from_pretrained")
    assert size == 2 * (4_022_969_088 - fp32) + 4 * fp32


@pytest.mark.parametrize("name", [XL, f"Salesforce/{XL}", "Salesforce/InstructBLIP-Flan-T5-XL"])
def test_shipped_names(name: str) -> None:
    architecture = find_architecture(name)
    assert architecture.name == XL
    assert architecture.separate_head
    assert architecture.config.image_token_index == 32100
    assert architecture.config.vision_config.initializer_range == 0.02


def test_tiny_is_small_enough_to_ship() -> None:
    architecture = find_architecture("tiny")
    model = built(architecture)
    assert sum(p.numel() for p in model.parameters()) == 5_322_816
    assert built_bytes(architecture, dtype=torch.float16, layout="from_pretrained") < 12_000_000
    assert architecture.config.image_token_index == 3


@pytest.mark.parametrize("size", [224, 336, 448])
def test_tiny_generates_at_every_size(size: int) -> None:
    model = built(find_architecture("tiny"))
    with torch.no_grad():
        tokens = model.generate(
            **inputs(size), interpolate_pos_encoding=True, max_new_tokens=3, min_new_tokens=3
        )
    assert tokens.shape == (2, 4)  # the start token and three new ones


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_logits_are_finite_and_depend_on_the_image(dtype: torch.dtype) -> None:
    model = built(find_architecture("tiny"), dtype=dtype)
    start = torch.zeros(2, 1, dtype=torch.long)
    with torch.no_grad():
        logits = model(**inputs(224), decoder_input_ids=start).logits
    assert logits.isfinite().all()
    assert not torch.equal(logits[0], logits[1])


def test_the_seed_decides_and_the_callers_random_state_stays() -> None:
    architecture = find_architecture("tiny")
    torch.manual_seed(5)
    first = built(architecture, seed=1)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))
    same, other = built(architecture, seed=1), built(architecture, seed=2)
    pairs = list(zip(first.parameters(), same.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)
    assert first.query_tokens.std() > 0


def test_a_published_init_of_nothing_gives_no_vision_tower_of_zeros(tmp_path: Path) -> None:
    raw = tiny_raw()
    raw["vision_config"]["initializer_range"] = 1e-10
    model = built(read_yaml_architecture(write_yaml(tmp_path, raw)))
    assert model.vision_model.encoder.layers[0].mlp.fc1.weight.std() > 0.01


def test_a_separate_head_is_drawn_saved_and_read_back(tmp_path: Path) -> None:
    raw = tiny_raw()
    raw["text_config"]["tie_word_embeddings"] = False
    model = built(read_yaml_architecture(write_yaml(tmp_path, raw)), dtype=torch.float16)
    t5 = model.language_model
    assert t5.lm_head.weight is not t5.shared.weight
    assert t5.encoder.embed_tokens.weight is t5.shared.weight
    assert t5.lm_head.weight.std() > 0.01
    model.save_pretrained(tmp_path)
    again: Any = read_model(
        tmp_path, dtype=torch.float16, layout="from_pretrained", attention="sdpa", device="cpu"
    )
    assert torch.equal(again.language_model.lm_head.weight, t5.lm_head.weight)
    assert again.language_model.lm_head.weight is not again.language_model.shared.weight


def test_a_misspelt_key_is_refused_with_the_nearest(tmp_path: Path) -> None:
    raw = tiny_raw()
    raw["vision_config"]["hiden_size"] = 8
    with pytest.raises(ModelError, match=r"vision_config\.hiden_size.*did you mean 'hidden_size'"):
        read_yaml_architecture(write_yaml(tmp_path, raw))


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"no architecture 'nonsense'.*tiny, .*{XL}"):
        find_architecture("nonsense")
    with pytest.raises(ModelError, match=r"no config\.json"):
        find_architecture(str(tmp_path))
    with pytest.raises(ModelError, match="cannot be read"):
        find_architecture(str(tmp_path / "absent.yaml"))
    with pytest.raises(ModelError, match="holds no model configuration"):
        find_architecture(str(write_yaml(tmp_path, [1])))
    with pytest.raises(ModelError, match="model_type 'llama' is no model that takes"):
        find_architecture(str(write_yaml(tmp_path, {"model_type": "llama"})))
    with pytest.raises(ModelError, match=r"no model_type 'qwen2_5_vI'.*did you mean 'qwen2_5_vl'"):
        find_architecture(str(write_yaml(tmp_path, {"model_type": "qwen2_5_vI"})))
    with pytest.raises(ModelError, match="no model_type in it"):
        find_architecture(str(write_yaml(tmp_path, {"hidden_size": 8})))
    (tmp_path / "mine.yaml").write_text("a: [")
    with pytest.raises(ModelError, match="not YAML"):
        find_architecture(str(tmp_path / "mine.yaml"))
    raw = tiny_raw()
    raw["text_config"]["d_model"] = "many"
    with pytest.raises(ModelError, match="d_model"):
        find_architecture(str(write_yaml(tmp_path, raw)))


def test_a_model_that_transformers_cannot_build_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ImportError("timm is\nmissing")

    monkeypatch.setattr(LlavaForConditionalGeneration, "_from_config", broken)
    with pytest.raises(ModelError, match=r"^model_type 'llava': .*\(timm is missing\)\.$"):
        without_weights(LlavaConfig())
