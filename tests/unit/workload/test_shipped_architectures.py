"""The architectures that ship: each has the number of parameters that its publisher states."""

from __future__ import annotations

import re

import pytest

from layerscope.core.shipped import shipped_config, shipped_names
from layerscope.workload.architecture import built_bytes, find_architecture

pytestmark = pytest.mark.models

# As published, in the hub's safetensors metadata or in the paper; the file's first lines say which.
PUBLISHED = {
    "blip2-opt-2.7b": 3_744_761_856,
    "florence-2-large": "0.77",
    "gemma-3-4b-it": 4_300_079_472,
    "idefics3-8b-llama3": "8.46",
    "instructblip-flan-t5-xl": 4_022_969_088,
    "instructblip-vicuna-7b": 7_913_726_720,
    "internvl3-8b-hf": 7_944_373_760,
    "llava-1.5-7b-hf": 7_063_427_072,
    "llava-onevision-qwen2-7b-ov-hf": "8.03",
    "paligemma2-3b-pt-224": 3_032_242_416,
    "qwen2.5-vl-3b-instruct": 3_754_622_976,
    "qwen2.5-vl-7b-instruct": 8_292_166_656,
    "qwen3-vl-4b-instruct": 4_437_815_808,
    "smolvlm2-2.2b-instruct": 2_246_784_880,
}


def test_every_shipped_architecture_is_here() -> None:
    assert set(PUBLISHED) == set(shipped_names("models"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_as_published(name: str) -> None:
    import torch

    architecture = find_architecture(name)
    # bf16 keeps no parameter in fp32 in these models, so that two bytes are one parameter.
    found = built_bytes(architecture, dtype=torch.bfloat16, layout="uniform") // 2
    published = PUBLISHED[name]
    if isinstance(published, str):  # in billions, to the digits that were published
        assert f"{int(found / 1e7) / 100:.2f}" == published
    else:
        assert found == published
    said = shipped_config("models", name).read_text(encoding="utf-8").split("model_type", 1)[0]
    stated = re.search(r"([\d,]{11,}) parameters", said)
    assert stated is not None
    assert int(stated[1].replace(",", "")) == found


@pytest.mark.parametrize("model", ["Qwen/Qwen2.5-VL-7B-Instruct", "llava-hf/llava-1.5-7b-hf"])
def test_a_hub_id_names_the_architecture_that_ships(model: str) -> None:
    assert find_architecture(model).name == model.rsplit("/", 1)[-1].lower()
