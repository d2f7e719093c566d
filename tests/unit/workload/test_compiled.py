"""Compiled parts: what is counted, against what one can count on fingers; dynamo's own graphs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch._inductor.compile_fx
from support.small_model import small_inputs, small_model

from layerscope.config.resolve import resolve
from layerscope.core.errors import EnvironmentProblem
from layerscope.records.optimization import CompiledPart, OptimizationRecord
from layerscope.workload.compiled import CompiledParts, uncompiled
from layerscope.workload.generation import Generator

STEPS = 4
PARTS = ("vision_model", "qformer", "language_model.encoder", "language_model")


def as_traced(graph: Any, _inputs: Any) -> Any:
    """A backend that runs dynamo's graph as it is: the capturing is tested, inductor is torch's."""
    return graph


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return small_model(tmp_path_factory.mktemp("small"))


def generator(model: Any, optimization: str, *, only_first: bool = False) -> Generator:
    given = {
        "model": "tiny", "weights": "random", "dataset": "synthetic-random", "device": "cpu",
        "optimization": optimization, "max_new_tokens": STEPS, "min_new_tokens": STEPS,
    }  # fmt: skip
    return Generator(model, resolve(given, cuda=False).config, only_first=only_first)


@pytest.fixture(scope="module")
def eager(model: Any) -> torch.Tensor:
    return generator(model, "eager")(small_inputs())


@dataclass(frozen=True)
class Story:
    """One compiled model through its life, with the counts after each chapter."""

    warm: torch.Tensor
    measured: torch.Tensor
    only_first: torch.Tensor
    looped: torch.Tensor
    counts: dict[str, dict[str, CompiledPart]]
    breaks: dict[str, int]


@pytest.fixture(scope="module")
def story(model: Any) -> Story:
    """Each chapter costs a trace of the whole model, so they are lived through once."""
    run = generator(model, "compile")
    counts: dict[str, dict[str, CompiledPart]] = {}
    with CompiledParts(model, "compile", backend=as_traced) as parts:

        def note(chapter: str) -> None:
            counts[chapter] = {part.part: part for part in parts.counts()}

        with parts.warming_up():
            warm = run(small_inputs())
        measured = run(small_inputs())
        note("measured")
        only_first = generator(model, "compile", only_first=True)(small_inputs())
        with uncompiled(parts):
            generator(model, "eager")(small_inputs())
        note("first token, and eagerly")
        looped = generator(model, "cudagraphs")(small_inputs())
        note("the loop of a cudagraphs run")
        run(small_inputs(text=9))
        note("a new shape")
        breaks = parts.graph_breaks()
        limit, torch._dynamo.config.recompile_limit = torch._dynamo.config.recompile_limit, 2
        run(small_inputs(text=12))  # the Q-Former's third graph would be one too many
        torch._dynamo.config.recompile_limit = limit
        note("past the limit")
    return Story(warm, measured, only_first, looped, counts, breaks)


def test_one_graph_a_part_and_two_for_the_language_model(story: Story, eager: torch.Tensor) -> None:
    assert torch.equal(story.warm, eager)
    assert torch.equal(story.measured, eager)
    by = story.counts["measured"]
    assert tuple(by) == PARTS
    # The first decoder step fills the cross-attention's cache, the later ones read it.
    assert [by[name].graphs for name in PARTS] == [1, 1, 1, 2]
    assert [by[name].calls for name in PARTS] == [2, 2, 2, 2 * STEPS]
    assert [by[name].fallbacks for name in PARTS] == [0, 0, 0, 0]
    assert [by[name].later_graphs for name in PARTS] == [0, 0, 0, 0]
    assert story.breaks == {}


def test_the_first_token_alone_and_an_eager_call_compile_nothing(story: Story) -> None:
    assert story.only_first.shape == (2, 2)  # the start token and one more
    by = story.counts["first token, and eagerly"]
    assert [by[name].later_graphs for name in PARTS] == [0, 0, 0, 0]
    assert [by[name].calls for name in PARTS] == [3, 3, 3, 2 * STEPS + 1]


def test_the_loop_of_a_cudagraphs_run_runs_the_same_graphs(
    story: Story, eager: torch.Tensor
) -> None:
    assert torch.equal(story.looped, eager)
    by = story.counts["the loop of a cudagraphs run"]
    assert [by[name].later_graphs for name in PARTS] == [0, 0, 0, 0]
    assert [by[name].calls for name in PARTS] == [4, 4, 4, 3 * STEPS + 1]


def test_a_new_shape_in_measured_time_is_counted(story: Story) -> None:
    by = story.counts["a new shape"]
    # The vision tower's shape is the same, and so is that of its one graph.
    assert [by[name].later_graphs for name in PARTS] == [0, 1, 1, 2]
    record = OptimizationRecord(mode="compile", parts=tuple(by.values()))
    assert "qformer: 1 graphs were compiled after the warm-up" in record.fell_back


def test_a_forced_fallback_is_seen(story: Story) -> None:
    before, after = story.counts["a new shape"], story.counts["past the limit"]
    assert after["vision_model"].fallbacks == 0
    assert after["qformer"].fallbacks == 1
    assert after["qformer"].later_graphs == before["qformer"].later_graphs
    said = OptimizationRecord(mode="compile", parts=tuple(after.values())).fell_back
    assert "qformer: 1 of 6 calls ran uncompiled" in said


def test_a_graph_break_is_counted_with_its_reason(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    norm = model.vision_model.post_layernorm
    whole = norm.forward

    def broken(*args: Any) -> Any:
        torch._dynamo.graph_break()
        return whole(*args)

    monkeypatch.setattr(norm, "forward", broken)
    pixels = small_inputs()["pixel_values"]
    with CompiledParts(model, "compile", backend=as_traced) as parts, torch.no_grad():
        with parts.warming_up():
            model.vision_model(pixel_values=pixels)
        assert sum(parts.graph_breaks().values()) > 0
        vision = parts.counts()[0]
    assert vision.graphs > 1
    assert vision.fallbacks == 0


def test_the_model_is_left_as_it_was(model: Any) -> None:
    before = torch._dynamo.config.recompile_limit
    with CompiledParts(model, "compile", backend=as_traced):
        pass
    assert all(module._compiled_call_impl is None for module in model.modules())
    assert torch._dynamo.config.recompile_limit == before


def test_warnings_about_code_that_inductor_wrote_are_not_the_user_s(
    model: Any, recwarn: pytest.WarningsRecorder
) -> None:
    filters = list(warnings.filters)

    def warn(module: str, text: str) -> None:
        warnings.warn_explicit(text, UserWarning, "f.py", 1, module=module)

    with CompiledParts(model, "compile", backend=as_traced):
        warn("triton.language.semantic", "tl.where with a non-boolean condition")
        warn("torch._inductor.compile_fx", "TensorFloat32 tensor cores for float32 ...")
        warn("transformers.generation", "of the user's own call")
    assert [str(item.message) for item in recwarn] == ["of the user's own call"]
    assert list(warnings.filters) == filters


def test_what_cannot_be_is_refused_in_one_line(model: Any) -> None:
    with pytest.raises(EnvironmentProblem, match="CUDA graphs need a CUDA device"):
        CompiledParts(model, "cudagraphs")
    with pytest.raises(EnvironmentProblem, match="none of the parts"):
        CompiledParts(torch.nn.Linear(2, 2), "compile")


def test_skipped_cuda_graphs_are_a_fallback() -> None:
    part = CompiledPart(part="p", graphs=1, later_graphs=0, calls=3, fallbacks=0, compile_s=1.0)
    record = OptimizationRecord(mode="cudagraphs", parts=(part,), cudagraph_skips=2)
    assert record.fell_back == ("2 graphs were not captured as CUDA graphs",)


@pytest.mark.parametrize(("batch", "tuned"), [(1, 2), (2, 0)])
def test_only_graphs_with_a_matrix_vector_product_are_tuned(
    model: Any, monkeypatch: pytest.MonkeyPatch, batch: int, tuned: int
) -> None:
    """The two steps of the language model at batch 1; at batch 2 nothing, which is said."""
    given: list[dict[str, Any]] = []

    def compile_fx(graph: Any, _inputs: Any, config_patches: dict[str, Any]) -> Any:
        given.append(config_patches)
        return graph

    monkeypatch.setattr(torch._inductor.compile_fx, "compile_fx", compile_fx)
    inputs = {name: value[:batch] for name, value in small_inputs().items()}
    with CompiledParts(model, "compile", tuned=True) as parts, parts.warming_up():
        generator(model, "compile")(inputs)
        assert parts.tuned_graphs() == tuned
        record = OptimizationRecord(mode="compile", parts=parts.counts(), tuned_graphs=tuned)
    plain = {"triton.cudagraphs": False}
    assert [patches for patches in given if patches != plain] == [
        plain | {"coordinate_descent_tuning": True}
    ] * tuned
    assert len(given) == 5
    assert bool(record.fell_back) == (not tuned)
