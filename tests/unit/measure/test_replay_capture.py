"""Captured inputs and their replay on real modules: caches restored, in-place changes noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.small_model import small_inputs, small_model
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from layerscope.measure.replay.capture import Call, capture, memory_budget
from layerscope.measure.replay.held_unit import HeldUnit, Stage, calls_of, capture_units
from layerscope.measure.replay.inputs import Held, hold
from layerscope.measure.replay.player import Refused, prepare
from layerscope.records.layer_energy import ReplayUnit

ROOM = 1 << 30
STEPS = 5
BLOCK = "language_model.decoder.block.0"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return small_model(tmp_path_factory.mktemp("small")).eval()


def batch(model: Any) -> Callable[[], object]:
    inputs = small_inputs()

    def generate() -> object:
        with torch.no_grad():
            return model.generate(**inputs, max_new_tokens=STEPS, eos_token_id=99, do_sample=False)

    return generate


def outputs(model: Any, fqn: str) -> list[torch.Tensor]:
    """What every call of a module returned in one batch, its first tensor."""
    seen: list[torch.Tensor] = []

    def look(module: torch.nn.Module, args: Any, output: Any) -> None:
        seen.append(first(output).clone())

    handle = model.get_submodule(fqn).register_forward_hook(look)
    batch(model)()
    handle.remove()
    return seen


def first(output: Any) -> torch.Tensor:
    while not isinstance(output, torch.Tensor):
        output = output[0]
    return output


def run(model: Any, fqn: str, held: Held) -> torch.Tensor:
    held.restore()
    with torch.no_grad():
        return first(model.get_submodule(fqn)(*held.args, **held.kwargs))


@pytest.mark.parametrize(
    ("fqn", "calls"),
    [
        ("vision_model.encoder.layers.0", [0]),
        ("qformer.encoder.layer.0", [0]),
        ("language_model.encoder.block.0", [0]),
        ("language_model.decoder", [0, 1, 4]),
        (BLOCK, [0, 1, 2, 4]),
        (f"{BLOCK}.layer.1", [0, 3]),
        ("language_model.lm_head", [0, 4]),
    ],
)
def test_a_replayed_call_computes_what_it_did_in_the_run(
    model: Any, fqn: str, calls: list[int]
) -> None:
    """Bit for bit, also after other steps have grown the same cache, in any order, repeatedly."""
    expected = outputs(model, fqn)
    found = capture(model, [(fqn, n) for n in calls], batch(model), budget_bytes=ROOM)
    assert set(found.held) == {(fqn, n) for n in calls}
    assert not found.too_large
    for number in (*calls, *reversed(calls)):
        assert torch.equal(run(model, fqn, found.held[fqn, number]), expected[number])
    assert "forward" not in model.get_submodule(fqn).__dict__


def test_a_decoder_call_keeps_the_length_of_its_cache(model: Any) -> None:
    calls = [(BLOCK, n) for n in (0, 1, 3)]
    found = capture(model, calls, batch(model), budget_bytes=ROOM)

    def length(call: Call) -> int:
        held = found.held[call]
        held.frozen.restore()
        kwargs = held.kwargs
        cache = kwargs.get("cache") or kwargs.get("past_key_values")
        assert isinstance(cache, EncoderDecoderCache)
        return int(cache.self_attention_cache.get_seq_length(0))

    assert [length(call) for call in calls] == [0, 1, 3]
    run(model, *[BLOCK, found.held[BLOCK, 3]])
    assert [length(call) for call in calls] == [0, 1, 3]


def test_a_step_on_a_static_cache_is_replayed_in_place_with_its_length_put_back(model: Any) -> None:
    """The living cache holds later steps by then; their masks hide them, so the result is the same."""
    inputs = small_inputs()

    def generate() -> object:
        with torch.no_grad():
            return model.generate(
                **inputs, max_new_tokens=STEPS, eos_token_id=99, do_sample=False,
                cache_implementation="static", disable_compile=True,
            )  # fmt: skip

    seen: list[torch.Tensor] = []
    handle = model.get_submodule(BLOCK).register_forward_hook(
        lambda module, args, output: seen.append(first(output).clone())
    )
    generate()
    handle.remove()
    calls = [(BLOCK, n) for n in (0, 1, 3)]
    found = capture(model, calls, generate, budget_bytes=ROOM)
    assert not any(held.copied for held in found.held.values())
    assert all(held.counters[0] for held in found.held.values())
    for _, number in (*calls, *reversed(calls)):
        torch.testing.assert_close(run(model, BLOCK, found.held[BLOCK, number]), seen[number])
    for call in calls:
        prepare([(model.get_submodule(BLOCK), found.held[call])], "cpu").run(3)
        prepare([(model.get_submodule(BLOCK), found.held[call])], "cpu").run(3)


def test_an_input_that_the_model_changes_after_the_call_is_copied() -> None:
    class Changes(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.inner(x)
            x += 1
            return y + x

    changes = Changes()
    start = torch.arange(6.0).reshape(2, 3)

    def generate() -> None:
        with torch.no_grad():
            changes(start.clone())

    found = capture(changes, [("inner", 0)], generate, budget_bytes=ROOM)
    held = found.held["inner", 0]
    assert held.copied
    assert torch.equal(held.args[0], start)
    assert not held.written()


class InPlace(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mul_(2)


class SamePlace(torch.nn.Module):
    """As a static cache: the same values to the same place, however often."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x[0] = 7.0
        return x


class Raises(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("this layer keeps a state\nand more lines")


def held(x: torch.Tensor) -> Held:
    return hold((x,), {}, copy=True)


def test_a_module_that_changes_its_input_in_place_is_refused_in_words() -> None:
    with pytest.raises(Refused, match=r"changes its input in place: a tensor of shape \(2, 3\)"):
        prepare([(InPlace(), held(torch.ones(2, 3)))], "cpu")


def test_a_module_that_writes_what_is_there_already_is_not() -> None:
    x = torch.ones(4)
    x[0] = 7.0
    assert prepare([(SamePlace(), held(x))], "cpu").how == "plain"


def test_a_counter_that_a_call_moves_is_put_back_before_every_call() -> None:
    """As in a static cache that counts its own length: call after call at the same place."""
    places: list[int] = []

    class Appends(torch.nn.Module):
        def forward(self, x: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
            places.append(int(length))
            x[int(length)] = 7.0
            length += 1
            return x

    values = torch.tensor([1.0, 7.0, 1.0, 1.0])
    kept = hold((values, torch.tensor(1)), {}, copy=True)
    prepare([(Appends(), kept)], "cpu").run(3)
    assert set(places) == {1}
    assert len(places) > 3


def test_a_module_that_raises_on_replay_is_refused_in_words() -> None:
    with pytest.raises(Refused, match=r"fails on replay: RuntimeError: this layer keeps a state$"):
        prepare([(Raises(), held(torch.ones(2)))], "cpu")


def test_a_player_runs_as_many_passes_as_asked() -> None:
    counted = []

    class Counts(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            counted.append(1)
            return x @ x

    overwritten = []
    player = prepare(
        [(Counts(), held(torch.ones(64, 64)))] * 3, "cpu", before_call=lambda: overwritten.append(1)
    )
    assert player.passes >= 1
    counted.clear()
    overwritten.clear()
    player.run(5)
    assert len(counted) == len(overwritten) == 15


class Settles(torch.nn.Module):
    """Writes other values in its first two calls than later, as a captured matmul may."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        x[0] = 7.0 if self.calls > 2 else float(self.calls)
        return x


def test_what_a_call_changes_is_looked_at_once_it_has_settled() -> None:
    with pytest.raises(Refused, match="changes its input in place"):
        prepare([(Settles(), held(torch.zeros(2)))], "cpu")
    begun: list[int] = []
    module = Settles()
    player = prepare(
        [(module, held(torch.zeros(2)))], "cpu", settling=2, before_call=lambda: begun.append(1)
    )
    assert len(begun) == module.calls  # each call, those that try it out too, begins a step
    player.run(1)
    assert len(begun) == module.calls


def test_what_the_budget_does_not_hold_is_re_created(model: Any) -> None:
    fqn = "language_model.encoder.block.0"
    unit = ReplayUnit(
        name="block", kind="block", phase="encoder", layers=(fqn,), calls=1, replayed=(0,)
    )
    held = capture_units([unit], model, batch(model), budget_bytes=0)
    assert held.too_large == {(fqn, 0)}
    assert held.held_bytes == 0
    ran: list[int] = []

    def counted() -> object:
        ran.append(1)
        return batch(model)()

    stage = Stage(model, "cpu", counted, held, budget_bytes=ROOM)
    player, where = HeldUnit(unit, stage).player()
    assert "re-created" in where
    assert ran == [1]
    player.run(1)
    with pytest.raises(Refused, match="larger than the memory budget of 0 MiB"):
        HeldUnit(unit, Stage(model, "cpu", counted, held, budget_bytes=0)).player()
    whole = capture_units([unit], model, batch(model), budget_bytes=ROOM)
    assert whole.held_bytes > 0
    assert (
        "held on the device" in HeldUnit(unit, Stage(model, "cpu", counted, whole, 0)).player()[1]
    )


def test_re_creating_ends_the_batch_at_the_last_wanted_call(model: Any) -> None:
    later: list[int] = []
    handle = model.get_submodule("language_model.decoder").register_forward_hook(
        lambda *_: later.append(1)
    )
    call = ("language_model.encoder.block.0", 0)
    found = capture(model, [call], batch(model), budget_bytes=ROOM, stop_early=True)
    handle.remove()
    assert call in found.held
    assert later == []
    assert batch(model)() is not None  # the interrupted batch leaves a model that works


def test_a_call_that_does_not_come_again_is_refused(model: Any) -> None:
    unit = ReplayUnit(
        name="head", kind="head", phase="decode", layers=("language_model.lm_head",), calls=1,
        replayed=(99,),
    )  # fmt: skip
    held = capture_units([unit], model, batch(model), budget_bytes=ROOM)
    with pytest.raises(Refused, match=r"call 100 of language_model\.lm_head did not come again"):
        HeldUnit(unit, Stage(model, "cpu", batch(model), held, ROOM)).player()


def test_weights_and_shared_tensors_do_not_fill_the_budget_twice() -> None:
    twice = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Identity())
    x = torch.ones(4, 8)
    calls = [("0", 0), ("1", 0)]
    found = capture(twice, calls, lambda: twice(x), budget_bytes=ROOM)
    assert found.held_bytes == 2 * 4 * 8 * 4  # the input, and the linear layer's output
    budget, words = memory_budget("cpu")
    assert budget > 0
    assert "of what was free on the cpu" in words


def test_the_order_of_a_pass_is_that_of_the_steps() -> None:
    unit = ReplayUnit(
        name="ffn", kind="ffn", phase="decode", layers=("a", "b"), calls=9, replayed=(1, 5, 9)
    )
    assert list(calls_of(unit)) == [("a", 1), ("b", 1), ("a", 5), ("b", 5), ("a", 9), ("b", 9)]


def test_restoring_puts_a_cache_back_without_copying() -> None:
    cache = DynamicCache()
    keys = torch.ones(1, 1, 2, 4)
    cache.update(keys, keys, 0)
    frozen = hold((cache,), {}, copy=False).frozen
    before = cache.layers[0].keys
    cache.update(keys, keys, 0)
    assert cache.get_seq_length() == 4
    frozen.restore()
    assert cache.get_seq_length() == 2
    assert cache.layers[0].keys is before
