"""Every choice the user leaves open is made and said; every wrong one is one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from layerscope.config.resolve import read_yaml, resolve
from layerscope.core.errors import UsageError
from layerscope.core.shipped import find_config, shipped_config, shipped_names


def test_defaults_on_cuda_are_the_xl_model_in_fp16_on_textvqa() -> None:
    resolved = resolve({}, cuda=True)
    config = resolved.config
    assert config.model == "Salesforce/instructblip-flan-t5-xl"
    assert (config.device, config.dtype, config.dataset) == ("cuda", "fp16", "textvqa")
    assert (config.batch_size, config.samples, config.warmup) == (16, 64, 2)
    assert (config.num_beams, config.max_new_tokens, config.seed) == (1, 20, 0)
    assert len(resolved.choices) == 4


def test_defaults_without_cuda_are_the_bundled_model_in_fp32() -> None:
    config = resolve({}, cuda=False).config
    assert (config.model, config.device, config.dtype) == ("tiny", "cpu", "fp32")
    assert config.dataset == "synthetic-textvqa"


def test_what_the_user_says_is_kept_and_not_announced() -> None:
    said = {"model": "a/b", "device": "cpu", "dtype": "bf16", "dataset": "coco"}
    resolved = resolve(said, cuda=True)
    assert resolved.choices == ()
    assert (resolved.config.model, resolved.config.dtype) == ("a/b", "bf16")


def test_random_weights_force_the_output_length_and_need_no_processor() -> None:
    config = resolve({"model": "x", "weights": "random", "max_new_tokens": 7}, cuda=True).config
    assert (config.min_new_tokens, config.dataset) == (7, "synthetic-random")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"batchsize": 4}, "unknown key `batchsize`; did you mean `batch_size`?"),
        ({"zzz": 4}, "unknown key `zzz`; known keys"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"batch_size": "many"}, "`batch_size`"),
        ({"batch_size": 2.5}, "`batch_size`"),
        ({"dtype": "int8"}, "`dtype`"),
        ({"warmup": -1}, "`warmup`"),
        ({"batch_size": 16, "samples": 8}, "8 samples do not fill one batch of 16"),
        (
            {"coordinate_descent_tuning": True},
            "`optimization` is eager; add --optimization compile",
        ),
        ({"min_new_tokens": 30}, "`min_new_tokens` 30 exceeds `max_new_tokens` 20"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(said: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(said, cuda=False, where="my.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("my.yaml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not plain YAML"),
        ("- 1\n- 2", "a mapping"),
        ("!!python/object/apply:os.system ['true']", "not plain YAML"),
    ],
)
def test_yaml_that_is_no_plain_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_yaml(path)


def test_shipped_configurations_resolve_by_name() -> None:
    assert "instructblip-flan-t5-xl" in shipped_names("models")
    path = shipped_config("models", "instructblip-flan-t5-xl")
    assert find_config("models/instructblip-flan-t5-xl") == path
    with pytest.raises(UsageError, match="no such file, and no shipped configuration"):
        find_config("nothing")
