"""`--optimization` as a user asks for it: inductor itself on a model of one layer, and refusals."""

from __future__ import annotations

import csv
import dataclasses
import warnings
from collections import Counter
from pathlib import Path

import pytest
import torch
from support.command import layerscope
from support.small_model import small_yaml

from layerscope.cli.main import run
from layerscope.records import RunRecord, load
from layerscope.records.heavy import heavy_kind
from layerscope.records.sweep import Cell
from layerscope.runs.sweep_rows import row_of

pytestmark = pytest.mark.slow

COMMON = (
    "--weights", "random", "--dataset", "synthetic-random", "--device", "cpu", "--batch", 2,
    "--samples", 3, "--image-size", 28, "--max-input-len", 8, "--max-new-tokens", 3,
    "--warmup", 1, "--measure-limit-s", 0.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """An eager run, a compiled one, and what the compiled one said."""
    root = tmp_path_factory.mktemp("runs")
    model = small_yaml(root)
    said = ""
    for mode in ("eager", "compile"):
        done = layerscope(
            "profile", "--model", model, *COMMON, "--optimization", mode, "--strict", "-v",
            "--out", root / mode, timeout=600,  # inductor compiles five graphs, beside what else runs
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said = done.stdout
    (eager,), (compiled,) = (root / "eager").iterdir(), (root / "compile").iterdir()
    return eager, compiled, said


def test_the_record_says_what_was_compiled_and_that_answers_are_the_same(
    runs: tuple[Path, Path, str],
) -> None:
    record = load(runs[1])
    found = record.optimization
    assert found is not None
    assert {part.part: part.graphs for part in found.parts} == {
        "vision_model": 1, "qformer": 1, "language_model.encoder": 1, "language_model": 2,
    }  # fmt: skip
    assert found.fell_back == ()
    assert found.graph_breaks == {}
    assert all(part.compile_s > 0 for part in found.parts)
    assert found.tokens is not None
    assert (found.tokens.samples, found.tokens.equal) == (2, 2)  # the partial batch is not compared
    assert load(runs[0]).optimization is None
    for part in ("graphs: vision_model 1", "0 graph breaks", "2 of 2 samples equal to eager"):
        assert part in runs[2]


def _by_phase(folder: Path, column: str) -> dict[str, float]:
    with (folder / "layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found: dict[str, float] = {}
    for row in rows:
        found[row["phase"]] = found.get(row["phase"], 0) + float(row[column] or 0)
    return found


def test_every_nanosecond_lies_in_a_region_a_layer_or_a_bucket(
    runs: tuple[Path, Path, str],
) -> None:
    record: RunRecord = load(runs[1])
    assert record.account is not None
    assert (record.account.status, record.account.host_difference_ns) == ("ok", 0)
    assert any("compiled regions" in note for note in record.account.notes)
    with (runs[1] / "layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    calls = {(row["layer"], row["phase"]): int(row["calls"]) for row in rows}
    assert calls["language_model", "decode"] == 2
    assert calls["language_model", "prefill"] == calls["vision_model", "vision"] == 1
    # Layers inside the parts: in each call of a part's graph in which a kernel of theirs ran.
    assert calls["vision_model.encoder.layers.0.mlp.fc1", "vision"] == 1
    assert calls["language_model.decoder.block.0.layer.2.DenseReluDense.wo", "decode"] == 2
    assert {row["attribution"] for row in rows} >= {"range", "exact", "fused"}
    assert all(float(r["modelled_us"]) <= float(r["op_self_us"]) for r in rows if r["op_self_us"])
    total_us = sum(float(row["cpu_self_us"]) for row in rows)
    assert total_us == pytest.approx(record.account.host_window_us, abs=1e-3 * len(rows))


def _heavy(folder: Path) -> Counter[tuple[str, str, str]]:
    with (folder / "operators.csv").open(newline="") as file:
        rows = [(r, heavy_kind(r["operator"])) for r in csv.DictReader(file)]
    found: Counter[tuple[str, str, str]] = Counter()
    for row, operator in rows:
        if operator:
            found[operator, row["layer"], row["phase"]] += int(row["calls"])
    return found


def test_eager_and_compiled_run_the_same_operators_in_the_same_layers(
    runs: tuple[Path, Path, str],
) -> None:
    eager, compiled = _heavy(runs[0]), _heavy(runs[1])
    assert eager == compiled
    assert eager["mm", "language_model.lm_head", "decode"] == 2
    assert {operator for operator, _, _ in eager} == {"mm", "convolution", "sdpa"}


def test_a_layers_flops_are_those_of_the_eager_run(runs: tuple[Path, Path, str]) -> None:
    found = []
    for folder in runs[:2]:
        with (folder / "layers.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        found.append(
            {(r["layer"], r["phase"]): int(r["flops_self"]) for r in rows if r["flops_self"]}
        )
    eager, compiled = found
    wo = ("language_model.encoder.block.0.layer.1.DenseReluDense.wo", "encoder")
    assert eager[wo] == compiled[wo] > 0
    with_work = {key for key, flops in eager.items() if flops}
    assert with_work == {key for key, flops in compiled.items() if flops}


def test_the_parts_flops_are_those_of_their_layers(runs: tuple[Path, Path, str]) -> None:
    eager, compiled = (_by_phase(folder, "flops_self") for folder in runs[:2])
    assert eager["vision"] == compiled["vision"] > 0
    assert eager["qformer"] == compiled["qformer"] > 0
    assert eager["encoder"] == compiled["encoder"] > 0
    # A static cache attends over its full length, a growing one over what there is.
    assert compiled["decode"] >= eager["decode"] > 0
    record = load(runs[1])
    assert sum(compiled.values()) == record.report.flops.value


def test_a_sweeps_row_says_what_the_mode_cost(runs: tuple[Path, Path, str]) -> None:
    rows = []
    for folder in runs[:2]:
        record = load(folder)
        cell = Cell(id="c", settings={}, config=record.config)
        rows.append(row_of(cell, record, folder, root=folder.parent))
    eager, compiled = rows
    assert (eager.tokens_equal, eager.compile_s, eager.fell_back) == (None, None, None)
    assert (compiled.tokens_equal, compiled.fell_back) == (1.0, None)
    assert (compiled.compile_s or 0) > 0


def test_a_saved_run_gives_the_same_account(runs: tuple[Path, Path, str]) -> None:
    done = layerscope("layers", runs[1])
    assert done.returncode == 0, done.stderr
    assert "difference 0 ns" in done.stdout
    assert "compiled regions" in done.stdout


def test_eager_and_compiled_compare_by_part(runs: tuple[Path, Path, str]) -> None:
    done = layerscope("compare", runs[0], runs[1])
    assert done.returncode == 0, done.stderr
    assert "vision_model" in done.stdout


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("cudagraphs", "CUDA graphs need a CUDA device"),
        ("flash", "vision_model: FlashAttention-2 needs"),
    ],
)
def test_a_mode_that_cannot_run_here_is_refused(mode: str, words: str, tmp_path: Path) -> None:
    done = layerscope(
        "profile", "--model", small_yaml(tmp_path), *COMMON, "--optimization", mode,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 3
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").glob("*"))


def test_tuning_that_finds_nothing_to_tune_is_said(
    runs: tuple[Path, Path, str], tmp_path: Path
) -> None:
    """Two rows in every product: the code is the compiled run's own, found in the cache."""
    done = layerscope(
        "profile", "--model", small_yaml(tmp_path), *COMMON, "--optimization", "compile",
        "--coordinate-descent-tuning", "--no-trace", "--strict", "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "coordinate descent tuned nothing" in done.stderr
    record = load(next((tmp_path / "out").iterdir()))
    assert record.config.coordinate_descent_tuning
    assert record.optimization is not None
    assert record.optimization.tuned_graphs == 0


def test_the_names_and_the_older_options_give_the_same_run(
    runs: tuple[Path, Path, str], tmp_path: Path
) -> None:
    done = layerscope(
        "profile", "--model", small_yaml(tmp_path), *COMMON, "--optimize", "compile", "--strict",
        "--out", tmp_path / "out", timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (named,) = (tmp_path / "out").iterdir()
    older = runs[1]
    one, other = load(older), load(named)
    said = {"out": one.config.out, "model": one.config.model}
    assert one.config == dataclasses.replace(other.config, **said)
    assert one.config.optimize == "compile"
    assert other.optimization is not None
    assert other.optimization.mode == "compile"
    # Not the folder's name, in which TensorBoard's files are called after the process.
    files = [
        {path.name for path in folder.rglob("*") if path.suffix in (".json", ".csv", ".md", ".gz")}
        for folder in (older, named)
    ]
    assert {n for n in files[0] if ".pt.trace" not in n} == {
        n for n in files[1] if ".pt.trace" not in n
    }
    assert older.name.split("-", 1)[1] == named.name.split("-", 1)[1]
    for name in ("layers.csv", "kernels.csv", "operators.csv", "steps.csv"):
        rows = [(folder / name).read_text().splitlines() for folder in (older, named)]
        assert rows[0][0] == rows[1][0]
        assert len(rows[0]) == len(rows[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_of_all_that_needs_cuda_leaves_torch_as_it_was(tmp_path: Path) -> None:
    def settings() -> tuple[object, ...]:
        return (
            torch.get_float32_matmul_precision(),
            torch.backends.cuda.matmul.fp32_precision,
            torch._inductor.config.get_config_copy(),
            torch._dynamo.config.get_config_copy(),
            list(warnings.filters),
        )

    import torch._dynamo.config
    import torch._inductor.config

    before = settings()
    arguments = [str(word) for word in COMMON]
    arguments[arguments.index("cpu")] = "cuda"
    arguments[arguments.index("--batch") + 1] = "1"
    code = run(
        ["profile", "--model", str(small_yaml(tmp_path)), *arguments, "--dtype", "fp16",
         "--optimize", "tuned,tf32,cudagraphs", "--strict", "--out", str(tmp_path / "out")]
    )  # fmt: skip
    assert code == 0
    assert settings() == before
    record = load(next((tmp_path / "out").iterdir()))
    assert record.config.optimize == "compile,cudagraphs,tf32,tuned"
    assert record.optimization is not None
    assert record.optimization.cudagraph_skips == 0
    assert record.optimization.tuned_graphs
