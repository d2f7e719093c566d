"""Memory that runs out: the refusal names the phase, the layer and a batch that would fit."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from layerscope.core.errors import EnvironmentProblem
from layerscope.records import RunConfig
from layerscope.workload.architecture import build, find_architecture
from layerscope.workload.batching import Batch
from layerscope.workload.generation import Generator
from layerscope.workload.greedy_loop import GreedyLoop
from layerscope.workload.out_of_memory import (
    asked_bytes,
    fitting_batch,
    place_of,
    refusing_out_of_memory,
)

CUDA_MESSAGE = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 139.80 GiB of "
    "which 1.05 GiB is free.\nIncluding non-PyTorch memory, this process has 138 GiB in use."
)
CPU_MESSAGE = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 25690112 bytes. Error code 12 (Cannot allocate memory)"
)


def config(batch: int) -> RunConfig:
    return RunConfig(
        model="tiny",
        dataset="synthetic-random",
        device="cpu",
        dtype="fp32",
        batch_size=batch,
        max_new_tokens=3,
        min_new_tokens=3,
    )


@pytest.fixture(scope="module")
def tiny() -> Any:
    return build(
        find_architecture("tiny"),
        dtype=torch.float32,
        layout="from_pretrained",
        attention="sdpa",
        device="cpu",
        seed=0,
    )


def inputs(model: Any, batch: int) -> dict[str, torch.Tensor]:
    queries = model.config.num_query_tokens
    text = torch.full((batch, 4), 5)
    image = torch.full((batch, queries), model.config.image_token_index)
    ids = torch.cat([image, text], dim=1)
    return {
        "pixel_values": torch.zeros(batch, 3, 28, 28),
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "qformer_input_ids": text,
        "qformer_attention_mask": torch.ones_like(text),
    }


def fail_in(
    module: nn.Module, monkeypatch: pytest.MonkeyPatch, call: int = 1, message: str = CUDA_MESSAGE
) -> None:
    """The module's forward runs out of memory at its `call`-th call."""
    real: Callable[..., Any] = type(module).forward
    kind = torch.OutOfMemoryError if message is CUDA_MESSAGE else RuntimeError
    calls = 0

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        if self is module:
            calls += 1
            if calls == call:
                raise kind(message)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(type(module), "forward", forward)


def refusal(model: Any, batch: int) -> str:
    with pytest.raises(EnvironmentProblem) as caught:
        Generator(model, config(batch))(inputs(model, batch))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("layer", "call", "phase"),
    [
        ("vision_model.encoder.layers.1.mlp", 1, "vision"),
        ("qformer.encoder.layer.0.attention", 1, "qformer"),
        ("language_projection", 1, "projection"),
        ("language_model.encoder.block.0.layer.1", 1, "encoder"),
        ("language_model.decoder.block.0.layer.0.SelfAttention", 1, "prefill"),
        ("language_model.decoder.block.0.layer.0.SelfAttention", 2, "decode"),
        ("language_model.lm_head", 3, "decode"),
    ],
)
def test_the_phase_and_the_innermost_layer_are_named(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, layer: str, call: int, phase: str
) -> None:
    fail_in(tiny.get_submodule(layer), monkeypatch, call)
    said = refusal(tiny, 2)
    assert f"in phase {phase}, in {layer}, at batch 2 (2,560.0 MiB refused)" in said
    assert said.endswith("try --batch 1.")


@pytest.mark.parametrize(("call", "phase"), [(1, "prefill"), (2, "decode"), (3, "decode")])
def test_the_phase_in_layerscopes_own_loop(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, call: int, phase: str
) -> None:
    layer = "language_model.decoder.block.1"
    fail_in(tiny.get_submodule(layer), monkeypatch, call)
    with torch.no_grad(), pytest.raises(torch.OutOfMemoryError) as failed:
        tiny.generate(
            **inputs(tiny, 1), max_new_tokens=4, do_sample=False, interpolate_pos_encoding=True,
            custom_generate=GreedyLoop(),
        )  # fmt: skip
    assert place_of(failed.value, tiny) == (phase, layer)


def test_in_a_loop_of_another_kind_either_phase_is_named(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(model: Any, input_ids: torch.Tensor, **given: Any) -> Any:
        for name in ("logits_processor", "stopping_criteria", "generation_config"):
            del given[name]
        return model(**model.prepare_inputs_for_generation(input_ids, **given))

    layer = "language_model.decoder.block.1"
    fail_in(tiny.get_submodule(layer), monkeypatch)
    with torch.no_grad(), pytest.raises(torch.OutOfMemoryError) as failed:
        tiny.generate(
            **inputs(tiny, 1),
            max_new_tokens=4,
            interpolate_pos_encoding=True,
            custom_generate=search,
        )
    assert place_of(failed.value, tiny) == ("prefill or decode", layer)


def test_the_cpu_allocator_counts_too(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_in(tiny.vision_model, monkeypatch, message=CPU_MESSAGE)
    assert "in phase vision, in vision_model, at batch 2 (24.5 MiB refused)" in refusal(tiny, 2)


def test_one_sample_that_does_not_fit_gets_other_advice(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_in(tiny.qformer, monkeypatch)
    said = refusal(tiny, 1)
    assert "--image-size" in said
    assert not re.search(r"--batch \d", said)


def test_outside_every_module_the_phase_is_generate(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(**inputs: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError(CUDA_MESSAGE)

    monkeypatch.setattr(tiny, "generate", generate)
    assert "in phase generate, outside its modules, at batch 2" in refusal(tiny, 2)


def test_another_runtime_error_is_not_hidden(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_in(tiny.vision_model, monkeypatch, message="shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        Generator(tiny, config(2))(inputs(tiny, 2))


def test_the_batch_that_fits_by_hand() -> None:
    gib = 1 << 30
    # 10 of parameters; 16 samples held 50 more and asked for 10: 3.75 each. 90 % of 70 is 63,
    # which leaves 53 for 14.1 samples: 8 is the power of two below.
    known = {"fixed_bytes": 10 * gib, "held_bytes": 60 * gib, "asked_bytes": 10 * gib}
    assert fitting_batch(16, **known, capacity_bytes=70 * gib) == 8
    # 90 % of 15 is 13.5: 3.5 left, not even one.
    assert fitting_batch(16, **known, capacity_bytes=15 * gib) == 0
    # The whole device is free for it, yet it failed: never as large as what failed.
    assert fitting_batch(16, **known, capacity_bytes=1000 * gib) == 8
    assert fitting_batch(2, **known, capacity_bytes=1000 * gib) == 1


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (CUDA_MESSAGE, 2_684_354_560),
        (CPU_MESSAGE, 25_690_112),
        ("CUDA error: out of memory", None),
    ],
)
def test_the_size_is_read_from_the_allocators_words(message: str, size: int | None) -> None:
    assert asked_bytes(RuntimeError(message)) == size


def test_inputs_that_do_not_fit_say_so() -> None:
    class Full(torch.Tensor):
        def to(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            raise torch.OutOfMemoryError(CUDA_MESSAGE)

    record: Any = None
    batch = Batch(record=record, samples=(), inputs={"pixel_values": Full()})
    with pytest.raises(EnvironmentProblem, match="copying the inputs to cuda ran out of memory"):
        batch.to("cuda", torch.float16)
    with (
        pytest.raises(EnvironmentProblem, match=r"drawing ran out .* --batch 2"),
        refusing_out_of_memory("drawing", 4),
    ):
        raise RuntimeError(CPU_MESSAGE)
