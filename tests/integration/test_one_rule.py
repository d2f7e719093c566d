"""One rule tells phases and parts: a trace, counted work, a failed call and a replay agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from integration.test_zoo import NOT_GENERATING, ZOO, by_hand, run

import layerscope
from layerscope.core.roles import PARTS
from layerscope.measure.flops import count_work
from layerscope.measure.replay.choose import choose_units
from layerscope.models.roles import roles_of
from layerscope.records.layer_energy import ReplayChoice
from layerscope.workload.out_of_memory import place_of

QUICK = ("llava", "blip2_t5", "whisper", "clip")  # the others are slow tests
HOW: dict[str, Any] = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}


def agree(model: Any, call: Callable[[], Any], root: str = "generate") -> tuple[Any, Any]:
    """The counted work and the account of the same call, whose calls by layer and phase are the same."""
    with torch.no_grad():
        work = count_work(model, call, root=root)
        with layerscope.capture(model) as window:
            call()
    window.table.check()
    counted = {(row.layer, row.phase): row.calls for row in work.rows if row.calls}
    traced = {
        (row.layer, row.phase): row.calls
        for row in window.table.rows
        if row.calls and not row.is_bucket
    }
    counted.pop((root, "other"), None), traced.pop((root, "other"), None)
    counted.pop((root, "forward"), None), traced.pop((root, "forward"), None)
    assert counted == traced
    assert work.decoder_steps == len(window.account.steps)
    return work, window.account


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in ZOO]
)
def test_counted_work_has_the_phases_of_the_trace(name: str) -> None:
    model, inputs = ZOO[name]()
    root = "forward" if name in NOT_GENERATING else "generate"
    work, account = agree(model, lambda: run(model, inputs, name), root)
    if root == "generate":
        steps = Counter(part.step for part in work.parts if part.part == "decoder")
        assert set(steps) == set(range(1, len(account.steps) + 1))
        assert {part.part for part in work.parts} <= set(PARTS)
        total = sum(sum(part.flops_by_dtype.values()) for part in work.parts)
        assert total == work.counted_flops


@pytest.mark.skipif(not ZOO, reason="needs cases/zoo.py in ../shared")
def test_ways_to_generate_and_to_loop() -> None:
    model, inputs = ZOO["llava"]()
    beams, _ = agree(model, lambda: model.generate(**inputs, num_beams=2, **HOW))
    assert beams.decoder_steps == 4
    chunks, account = agree(model, lambda: model.generate(**inputs, prefill_chunk_size=10, **HOW))
    assert [step.phase for step in account.steps] == ["prefill"] * 3 + ["decode"] * 3
    prefill = {part.step for part in chunks.parts if part.phase == "prefill"}
    assert prefill == {1, 2, 3}


@pytest.mark.skipif(not ZOO, reason="needs cases/zoo.py in ../shared")
@pytest.mark.parametrize("name", ["llava", "plain_t5"])
@pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning")
def test_a_loop_of_ones_own(name: str) -> None:
    model, inputs = ZOO[name]()

    def twice() -> None:
        by_hand(model, inputs)
        by_hand(model, inputs)

    _, account = agree(model, twice, "forward")
    assert [s.phase for s in account.steps] == ["prefill", "decode", "decode", "decode"] * 2


class Full(RuntimeError):
    pass


def place_at(model: Any, inputs: dict[str, Any], layer: str, call: int) -> tuple[str, str]:
    """Where a `generate()` is said to have failed whose `layer` fails at its `call`-th call."""
    calls = 0

    def fail(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Full

    hook = model.get_submodule(layer).register_forward_pre_hook(fail)
    try:
        with torch.no_grad(), pytest.raises(Full) as failed:
            model.generate(**inputs, **HOW)
    finally:
        hook.remove()
    return place_of(failed.value, model)


@pytest.mark.skipif(not ZOO, reason="needs cases/zoo.py in ../shared")
@pytest.mark.parametrize(
    ("name", "layer", "call", "phase"),
    [
        ("llava", "model.vision_tower.encoder", 1, "vision"),
        ("llava", "model.multi_modal_projector", 1, "projection"),
        ("llava", "model.language_model.layers.1.mlp", 1, "prefill"),
        ("llava", "model.language_model.layers.1.mlp", 2, "decode"),
        ("llava", "lm_head", 1, "prefill"),
        ("llava", "lm_head", 3, "decode"),
        ("qwen2_5_vl", "model.visual.blocks.0", 1, "vision"),
        ("qwen2_5_vl", "model.language_model.layers.0", 4, "decode"),
        ("blip2_t5", "qformer.encoder.layer.0", 1, "qformer"),
        ("blip2_t5", "language_model.encoder.block.1", 1, "encoder"),
        ("blip2_t5", "language_model.decoder.block.0", 1, "prefill"),
        ("whisper", "model.encoder.layers.0", 1, "audio"),
        ("whisper", "model.decoder.layers.0", 2, "decode"),
        ("donut", "encoder.encoder", 1, "vision"),
        ("plain_llama", "model.layers.1", 1, "prefill"),
    ],
)
def test_where_memory_ran_out(name: str, layer: str, call: int, phase: str) -> None:
    model, inputs = ZOO[name]()
    found, where = place_at(model, inputs, layer, call)
    assert found == phase
    assert where.startswith(layer) or layer.startswith(where)


@pytest.mark.skipif(not ZOO, reason="needs cases/zoo.py in ../shared")
def test_what_is_replayed_is_chosen_by_part() -> None:
    model, inputs = ZOO["llava"]()
    with torch.no_grad(), layerscope.capture(model) as window:
        model.generate(**inputs, **HOW)
    roles, rows = roles_of(model), window.table.rows

    def layers(*parts: str) -> set[str]:
        units = choose_units(rows, ReplayChoice(parts=parts), roles=roles)
        return {layer for unit in units if unit.role == "layer" for layer in unit.layers}

    assert layers("lm_head") == {"lm_head"}
    assert layers("projection") == {"model.multi_modal_projector"}
    assert layers("vision")
    assert all(layer.startswith("model.vision_tower.") for layer in layers("vision"))
    decoder = layers("decoder")
    assert "model.language_model.layers.0" in decoder
    assert all(layer.startswith("model.language_model.") for layer in decoder)
    every = layers("vision", "projection", "decoder", "lm_head", "other")
    assert every == layers()
    assert not layers("qformer")


@pytest.mark.skipif(not ZOO, reason="needs cases/zoo.py in ../shared")
@pytest.mark.parametrize(("name", "described"), [("blip2_t5", True), ("llava", False)])
def test_calls_are_demanded_where_a_family_describes_them(name: str, described: bool) -> None:
    model, inputs = ZOO[name]()
    with torch.no_grad(), layerscope.capture(model) as window:
        model.generate(**inputs, **HOW)
        window.steps = 4
    window.table.check()
    expected = window.table.expected_calls
    if described:
        assert expected is not None
        assert expected["language_model.decoder"] == 4
    else:
        assert expected is None
        assert any("rule 4 (calls) not applicable" in note for note in window.table.notes)
