"""The dtype of every parameter of a built model is the one `from_pretrained(dtype=...)` gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from layerscope.core.run_config import Dtype
from layerscope.workload.architecture import build, built_bytes, find_architecture
from layerscope.workload.checkpoint import read_model
from layerscope.workload.dtype_layout import apply_dtypes, kept_in_fp32, torch_dtype


def built(dtype: torch.dtype, layout: Any = "from_pretrained") -> torch.nn.Module:
    return build(
        find_architecture("tiny"),
        dtype=dtype,
        layout=layout,
        attention="sdpa",
        device="cpu",
        seed=3,
    )


def dtypes_of(model: torch.nn.Module) -> dict[str, torch.dtype]:
    return {name: parameter.dtype for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", ["fp16", "bf16", "fp32"])
def test_built_layout_equals_the_reloaded_one(name: Dtype, tmp_path: Path) -> None:
    dtype = torch_dtype(name)
    model = built(dtype)
    model.save_pretrained(tmp_path)  # type: ignore[operator]
    reloaded = read_model(
        tmp_path, dtype=dtype, layout="from_pretrained", attention="sdpa", device="cpu"
    )
    assert dtypes_of(model) == dtypes_of(reloaded)
    for (own, kept), (other, read) in zip(
        model.named_parameters(), reloaded.named_parameters(), strict=True
    ):
        assert own == other
        assert torch.equal(kept, read), own


def test_fp16_keeps_what_the_classes_say_and_bf16_nothing() -> None:
    kept = {name for name, dtype in dtypes_of(built(torch.float16)).items() if "32" in str(dtype)}
    assert "query_tokens" in kept
    assert "qformer.embeddings.word_embeddings.weight" in kept
    assert {n for n in kept if n.endswith("wo.weight")} == kept - {
        "query_tokens",
        "qformer.embeddings.word_embeddings.weight",
    }
    assert len(kept) == 2 + 3 + 3  # one wo in each T5 block
    assert set(dtypes_of(built(torch.bfloat16)).values()) == {torch.bfloat16}


def test_uniform_is_uniform() -> None:
    assert set(dtypes_of(built(torch.float16, "uniform")).values()) == {torch.float16}


def test_a_class_that_keeps_nothing_gives_no_pattern() -> None:
    assert kept_in_fp32(torch.nn.Linear(2, 2), torch.float16) is None


def test_the_strict_list_counts_for_bf16_and_stars_match_anything() -> None:
    net = torch.nn.Linear(2, 2)
    net._keep_in_fp32_modules = ["only_fp16"]  # type: ignore[assignment]
    net._keep_in_fp32_modules_strict = ["a.*.b"]  # type: ignore[assignment]
    pattern = kept_in_fp32(net, torch.bfloat16)
    assert pattern is not None
    assert pattern.search("x.a.layer.3.b.weight")
    assert not pattern.search("only_fp16.weight")
    assert kept_in_fp32(net, torch.float32) is None


def test_ties_survive_a_cast() -> None:
    embedding, head = torch.nn.Embedding(3, 2), torch.nn.Linear(2, 3, bias=False)
    head.weight = embedding.weight
    net = torch.nn.ModuleDict({"embedding": embedding, "head": head})
    apply_dtypes(net, {"embedding.weight": torch.float16})
    assert net["head"].weight is net["embedding"].weight
    assert net["head"].weight.dtype == torch.float16


@pytest.mark.parametrize("layout", ["from_pretrained", "uniform"])
def test_bytes_are_known_before_they_are_allocated(layout: Any) -> None:
    model = built(torch.float16, layout)
    real = sum(p.numel() * p.element_size() for p in model.parameters())
    architecture = find_architecture("tiny")
    assert built_bytes(architecture, dtype=torch.float16, layout=layout) == real
