"""Static caches of models of many kinds: the tokens of a growing one, batch after batch, with beams,
and in the loop that does not wait; and what becomes of a model that takes none."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from support.architectures import ARCHITECTURES
from support.families import FAMILIES
from support.kinds_of_models import NEW_TOKENS, built, generator

# In the default run: plain, sliding windows, images packed in rows, an encoder of its own.
OFTEN = ("llava", "gemma3", "qwen2_5_vl", "florence2")
NAMES = [
    name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES
]
# Their decoders are of other kinds: states of one size, layers that read the image, reused keys.
OTHERS = ("lfm2_vl", "qwen3_5", "mllama", "gemma4", "donut")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_answers_as_with_a_growing_cache(name: str) -> None:
    model, inputs = built(name)
    same_answers(model, inputs, gives_up=name == "paligemma2")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # transformers 5.17 of its own Mllama
@pytest.mark.parametrize("name", OTHERS)
def test_decoders_of_other_kinds(name: str) -> None:
    same_answers(*FAMILIES[name]())


@pytest.mark.parametrize(
    ("name", "why"), [("pix2struct", "hands no cache back"), ("git", "fails on")]
)
def test_a_decoder_without_one_gives_the_same_answers(name: str, why: str) -> None:
    """In the loop that does not wait, too: without any cache each step reads all that there is."""
    model, inputs = FAMILIES[name]()
    same_answers(model, inputs, gives_up=True)
    run = generator(model, "cudagraphs")
    run(inputs)
    assert run.caches is not None
    assert why in run.caches.why_not


def same_answers(model: Any, inputs: dict[str, torch.Tensor], *, gives_up: bool = False) -> None:
    eager = generator(model, "eager")(inputs)
    for optimization in ("compile", "cudagraphs"):
        run = generator(model, optimization)
        for _ in range(2):
            assert torch.equal(run(inputs), eager)
        assert run.caches is not None
        assert bool(run.caches.why_not) == gives_up, run.caches.why_not
    if not gives_up:
        beams = generator(model, "eager", num_beams=2)(inputs)
        assert torch.equal(generator(model, "compile", num_beams=2)(inputs), beams)


def test_it_is_as_long_as_the_prompt_and_the_answer_also_where_a_window_slides() -> None:
    model, inputs = built("gemma3")
    window = model.config.get_text_config().sliding_window
    run = generator(model, "compile")
    run(inputs)
    assert run.caches is not None
    (kept,) = run.caches._kept.values()
    length = inputs["input_ids"].shape[1] + NEW_TOKENS
    assert length > window
    assert {layer.max_cache_len for layer in kept.cache.layers} == {length}
    assert not any(kept.cache.is_sliding)
    # Its first step finds a new one: models ask.
    run.caches.empty(inputs)
    assert not kept.cache.is_initialized
    assert kept.cache.is_compileable


def test_a_model_that_takes_none_runs_with_a_growing_one_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, inputs = built("llava")
    eager = generator(model, "eager")(inputs)
    forward = type(model).forward

    def picky(self: Any, *args: Any, **kwargs: Any) -> Any:
        cache = kwargs.get("cache", kwargs.get("past_key_values"))
        if getattr(cache, "is_compileable", False):
            raise TypeError("no such cache")
        return forward(self, *args, **kwargs)

    picky.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    monkeypatch.setattr(type(model), "forward", picky)
    run = generator(model, "compile")
    assert torch.equal(run(inputs), eager)
    assert run.caches is not None
    assert run.caches.why_not == (
        "transformers fails on LlavaForConditionalGeneration with one (TypeError: no such cache)"
    )
    assert not run.prepare(inputs)  # it is tried once
