"""`--optimize compile` on models other than InstructBLIP: inductor itself, against the eager run."""

from __future__ import annotations

import csv
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
import torch
import yaml
from support.architectures import ARCHITECTURES
from support.command import layerscope
from support.processors import save_llava

from layerscope.records import load
from layerscope.records.heavy import heavy_kind

pytestmark = pytest.mark.slow

STEPS = 4
LEFT = {"qwen2_5_vl": "model.visual"}


def profiled(root: Path, model: Path, *more: str | int) -> tuple[Path, str]:
    done = layerscope(
        "profile", "--model", model, "--device", "cpu", "--batch", 2, "--samples", 2, "--warmup", 1,
        "--max-input-len", 12, "--max-new-tokens", STEPS, "--measure-limit-s", 0.1, "--out", root,
        "-v", *more, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = root.iterdir()
    return folder, done.stdout


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def heavy(folder: Path) -> Counter[tuple[str, str, str]]:
    """Without rotary angles: transformers 5.17's are a product of one column and one row, which inductor
    makes a multiplication of. The account, whose status is judged, counts it."""
    found: Counter[tuple[str, str, str]] = Counter()
    for row in rows(folder / "operators.csv"):
        operator = heavy_kind(row["operator"])
        if operator and not row["layer"].endswith("rotary_emb"):
            found[operator, row["layer"], row["phase"]] += int(row["calls"])
    return found


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
def test_the_same_tokens_and_the_same_operators_in_the_same_layers(
    name: str, tmp_path: Path
) -> None:
    model = tmp_path / f"{name}.yaml"
    model.write_text(yaml.safe_dump(ARCHITECTURES[name]), encoding="utf-8")
    eager, _ = profiled(tmp_path / "eager", model, "--weights", "random")
    compiled, said = profiled(
        tmp_path / "compiled", model, "--weights", "random", "--optimize", "compile"
    )
    record = load(compiled)
    found = record.optimization
    assert found is not None
    assert found.tokens is not None
    assert (found.tokens.samples, found.tokens.equal) == (2, 2)
    assert found.graph_breaks == {}
    # Its first step and the later ones have a graph each; a tower that cuts packed images has none.
    parts = {part.part: part for part in found.parts}
    assert parts["model.language_model"].graphs == 2
    assert [part for part in parts if parts[part].left_eager] == [
        part for part in (LEFT.get(name),) if part
    ]
    assert all(part.later_graphs == part.fallbacks == 0 for part in found.parts)
    assert ("was left eager: what runs in it depends on the data" in said) == (name in LEFT)
    # Every nanosecond, and every product and convolution, where it is in the eager run.
    assert record.account is not None
    assert (record.account.status, record.account.host_difference_ns) == ("ok", 0)
    table = rows(compiled / "layers.csv")
    total_us = sum(Decimal(row["cpu_self_us"]) for row in table)
    assert total_us == Decimal(f"{record.account.host_window_us:.3f}")
    assert heavy(compiled) == heavy(eager)
    assert [row["phase"] for row in rows(compiled / "steps.csv")] == ["prefill"] + ["decode"] * 3
    again = layerscope("layers", compiled)
    assert again.returncode == 0, again.stderr
    assert "difference 0 ns" in again.stdout


@pytest.mark.long
def test_texts_of_many_lengths_have_few_shapes(tmp_path: Path) -> None:
    model = save_llava(tmp_path / "model")
    folder, _ = profiled(
        tmp_path / "runs", model, "--dataset", "synthetic-textvqa", "--optimize", "compile",
        "--samples", 6, "--no-trace",
    )  # fmt: skip
    record = load(folder)
    lengths = {batch.shapes["input_ids"][1] for batch in record.workload.batches}
    assert all(length % 32 == 0 for length in lengths)
    assert record.optimization is not None
    assert all(part.later_graphs == part.fallbacks == 0 for part in record.optimization.parts)
    assert record.optimization.tokens is not None
    assert record.optimization.tokens.equal == 6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "gemma3", "florence2"])
def test_cuda_graphs_give_the_same_tokens_and_are_all_captured(name: str, tmp_path: Path) -> None:
    model = tmp_path / f"{name}.yaml"
    model.write_text(yaml.safe_dump(ARCHITECTURES[name]), encoding="utf-8")
    cuda = ("--weights", "random", "--device", "cuda", "--dtype", "fp32", "--batch", 1)
    folder, _ = profiled(tmp_path / "runs", model, *cuda, "--optimize", "cudagraphs,tuned")
    record = load(folder)
    found = record.optimization
    assert found is not None
    assert found.tokens is not None
    assert found.tokens.equal == found.tokens.samples
    assert found.cudagraph_skips == 0
    assert found.tuned_graphs
    assert all(part.later_graphs == part.fallbacks == 0 for part in found.parts)
    assert [part.part for part in found.parts if part.left_eager] == [
        part for part in (LEFT.get(name),) if part
    ]
    assert record.account is not None
    assert record.account.status == "ok", record.account.failures
    assert any(row["launch"] == "graph" for row in rows(folder / "kernels.csv"))
