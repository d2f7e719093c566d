"""Static caches kept from batch to batch: the same addresses, and never an earlier batch's content."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.small_model import SMALL, SMALL_LLAMA, small_inputs, small_model

from layerscope.config.resolve import resolve
from layerscope.workload.generation import Generator

STEPS = 4


def generator(model: Any, optimization: str, **more: Any) -> Generator:
    given = {
        "model": "tiny", "weights": "random", "dataset": "synthetic-random", "device": "cpu",
        "optimization": optimization, "max_new_tokens": STEPS, "min_new_tokens": STEPS, **more,
    }  # fmt: skip
    return Generator(model, resolve(given, cuda=False).config)


def batches() -> list[dict[str, torch.Tensor]]:
    """Two batches of one shape, one of another, and the first again."""
    first = small_inputs()
    second = first | {"pixel_values": first["pixel_values"].flip(0) * 3}
    return [first, second, small_inputs(text=9), first]


def addresses(run: Generator) -> set[int]:
    assert run.caches is not None
    return {t.data_ptr() for kept in run.caches._kept.values() for t in kept._tensors}


@pytest.fixture(scope="module", params=[SMALL, SMALL_LLAMA], ids=["t5", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return small_model(tmp_path_factory.mktemp("small"), request.param)


def test_the_same_answers_as_with_a_growing_cache(model: Any) -> None:
    eager, static = generator(model, "eager"), generator(model, "compile")
    assert eager.caches is None
    for inputs in batches():
        assert torch.equal(static(inputs), eager(inputs))


def test_addresses_stay_and_each_shape_has_its_own(model: Any) -> None:
    run = generator(model, "compile")
    first, second, longer, _ = batches()
    run(first)
    before = addresses(run)
    run(second)
    assert addresses(run) == before
    run(longer)
    assert addresses(run) > before
    run(first)
    assert len(addresses(run)) == 2 * len(before)


def test_an_emptied_cache_holds_nothing(model: Any) -> None:
    run = generator(model, "compile")
    run(small_inputs())
    assert run.caches is not None
    (kept,) = run.caches._kept.values()
    assert any(tensor.any() for tensor in kept._tensors)
    run.caches.empty(small_inputs())
    assert not any(tensor.any() for tensor in kept._tensors)
    assert not any(getattr(kept.cache, "is_updated", {}).values())


def test_beams(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = small_model(tmp_path_factory.mktemp("small"))
    eager = generator(model, "eager", num_beams=3)
    static = generator(model, "compile", num_beams=3)
    for inputs in batches()[:2]:
        assert torch.equal(static(inputs), eager(inputs))
