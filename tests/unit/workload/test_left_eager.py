"""Parts that torch cannot take are left eager, with the reason, and the answers stay what they were."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.kinds_of_models import built, generator

from layerscope.records.optimization import CompiledPart, OptimizationRecord
from layerscope.workload.compiled import CompiledParts
from layerscope.workload.running_part import PartLeft

TOWER, LANGUAGE = "model.vision_tower", "model.language_model"


def as_traced(graph: Any, _inputs: Any) -> Any:
    return graph


@pytest.fixture(scope="module")
def llava() -> tuple[Any, dict[str, torch.Tensor]]:
    return built("llava", layers=1)


@pytest.fixture(scope="module")
def eager(llava: Any) -> torch.Tensor:
    model, inputs = llava
    return generator(model, "eager")(inputs)


def by_name(parts: CompiledParts) -> dict[str, CompiledPart]:
    return {part.part: part for part in parts.counts()}


def of(refused: str) -> Any:
    """A backend that cannot compile what calls this operator."""

    def backend(graph: Any, _inputs: Any) -> Any:
        if any(refused in str(node.target) for node in graph.graph.nodes):
            raise NotImplementedError("no kernel for this")
        return graph

    return backend


@pytest.mark.slow
def test_a_tower_whose_compilation_fails(llava: Any, eager: torch.Tensor) -> None:
    model, inputs = llava
    run = generator(model, "compile")
    with CompiledParts(model, "compile", backend=of("conv")) as parts:
        with parts.warming_up():
            assert torch.equal(run(inputs), eager)
        assert torch.equal(run(inputs), eager)
        found = by_name(parts)
    assert "no kernel for this" in found[TOWER].left_eager
    assert (found[TOWER].graphs, found[TOWER].calls, found[TOWER].fallbacks) == (0, 0, 0)
    assert (found[LANGUAGE].graphs, found[LANGUAGE].left_eager) == (2, "")
    record = OptimizationRecord(mode="compile", parts=tuple(found.values()))
    assert record.compiled == ("model.multi_modal_projector", LANGUAGE)
    (said,) = record.fell_back
    assert said.startswith(f"{TOWER} was left eager: torch fails on it (")


@pytest.mark.parametrize("fails_at", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_step_whose_compilation_fails_starts_the_batch_again(
    llava: Any, eager: torch.Tensor, fails_at: int
) -> None:
    """In the prefill, and in the step after it, when the cache holds what the prefill wrote."""
    model, inputs = llava
    seen: list[int] = []

    def backend(graph: Any, _inputs: Any) -> Any:
        if any("index_copy" in str(node.target) for node in graph.graph.nodes):
            seen.append(1)
            if len(seen) == fails_at:
                raise NotImplementedError("no kernel for this")
        return graph

    run = generator(model, "compile")
    with CompiledParts(model, "compile", backend=backend) as parts:
        with parts.warming_up():
            assert torch.equal(run(inputs), eager)
        assert torch.equal(run(inputs), eager)
        found = by_name(parts)
    assert "no kernel for this" in found[LANGUAGE].left_eager
    assert found[TOWER].graphs == 1


def test_a_step_with_a_growing_cache(llava: Any, eager: torch.Tensor) -> None:
    model, inputs = llava
    with CompiledParts(model, "compile", backend=as_traced) as parts, parts.warming_up():
        assert torch.equal(generator(model, "eager")(inputs), eager)
        found = by_name(parts)
    assert "its cache grows" in found[LANGUAGE].left_eager
    assert found[TOWER].graphs == 1


@pytest.mark.slow
def test_called_outside_of_a_generator_it_is_one_line(llava: Any) -> None:
    model, inputs = llava
    caches = generator(model, "compile").caches
    assert caches is not None
    cache = caches.empty(inputs)
    with (
        CompiledParts(model, "compile", backend=of("index_copy")),
        torch.no_grad(),
        pytest.raises(PartLeft, match=r"language_model was left eager.*run again"),
    ):
        model(**inputs, **cache)


def test_a_tower_that_cuts_packed_images_by_their_lengths() -> None:
    """Before anything of it is compiled; what broke in vain is not counted."""
    model, inputs = built("qwen2_5_vl")
    eager = generator(model, "eager")(inputs)
    run = generator(model, "compile")
    with CompiledParts(model, "compile", backend=as_traced) as parts:
        with parts.warming_up():
            assert torch.equal(run(inputs), eager)
        found, breaks = by_name(parts), parts.graph_breaks()
    assert "depends on the data" in found["model.visual"].left_eager
    assert found["model.visual"].compile_s == 0
    assert (found[LANGUAGE].graphs, found[LANGUAGE].left_eager) == (2, "")
    assert breaks == {}


@pytest.mark.slow
def test_a_tower_of_which_only_pieces_are_called(llava: Any, eager: torch.Tensor) -> None:
    model, inputs = llava
    tower = model.get_submodule(TOWER)

    class Pieces(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole = tower

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("never called")

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self.whole.forward(*args, **kwargs)

    model.model.vision_tower = Pieces()
    model.model.vision_tower.main_input_name = "pixel_values"
    try:
        with CompiledParts(model, "compile", backend=as_traced) as parts, parts.warming_up():
            assert torch.equal(generator(model, "compile")(inputs), eager)
            found = by_name(parts)
    finally:
        model.model.vision_tower = tower
    (unused,) = (part for part in found.values() if not part.calls)
    assert unused.part.startswith(TOWER)
    record = OptimizationRecord(mode="compile", parts=tuple(found.values()))
    assert unused.part not in record.compiled
    assert record.fell_back == ()  # models have towers for what a run does not give them


@pytest.mark.slow
def test_the_model_is_left_as_it_was(llava: Any) -> None:
    model, inputs = llava
    with CompiledParts(model, "compile", backend=of("conv")) as parts, parts.warming_up():
        generator(model, "compile")(inputs)
    assert all(module._compiled_call_impl is None for module in model.modules())
