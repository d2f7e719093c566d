"""Weights as cold as in the run: how many sets take turns, and that each call computes the same."""

from __future__ import annotations

import pytest
import torch

from layerscope.measure.replay import held_unit
from layerscope.measure.replay.capture import capture
from layerscope.measure.replay.held_unit import HeldUnit, Stage
from layerscope.measure.replay.weights import in_turn, turns_needed, weight_bytes
from layerscope.records.layer_energy import ReplayUnit


@pytest.mark.parametrize(
    ("pass_mb", "model_mb", "cache_mb", "turns"),
    [
        (14, 8000, 50, 8),  # a Q-Former block: 8 x 14 MB fill a cache of 50 MB twice
        (50, 8000, 50, 2),
        (101, 8000, 50, 1),  # does not find itself in the cache
        (2, 20, 50, 10),  # a small model passes through 20 MB between two calls, not 100
        (1, 8000, 50, 1),  # 100 sets for a megabyte: its weights are not what it costs
        (0, 8000, 50, 1),
        (14, 8000, 0, 1),  # a device whose cache is not known
    ],
)
def test_sets_of_weights(pass_mb: int, model_mb: int, cache_mb: int, turns: int) -> None:
    assert turns_needed(pass_mb << 20, model_mb << 20, cache_mb << 20) == turns


def test_shared_weights_count_once() -> None:
    one, other = torch.nn.Linear(3, 4), torch.nn.Linear(3, 4, bias=False)
    other.weight = one.weight
    assert weight_bytes([one, other, one]) == (3 * 4 + 4) * 4


def unit_of(fqn: str) -> ReplayUnit:
    return ReplayUnit(name=fqn, kind="k", phase="vision", layers=(fqn,), calls=1, replayed=(0,))


def test_a_pass_is_counted_for_every_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sets: so many calls as passes, the same number of each set, and all give the same."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 96)).eval()
    x = torch.randn(2, 4)
    called: dict[int, list[torch.Tensor]] = {}

    def look(module: torch.nn.Module, args: object, output: torch.Tensor) -> None:
        called.setdefault(id(module), []).append(output)

    model[0].register_forward_hook(look)
    monkeypatch.setattr(held_unit, "last_cache_bytes", lambda _: 30 * 4)  # 20 floats a set
    captured = capture(model, [("0", 0)], lambda: model(x), budget_bytes=1 << 20)
    stage = Stage(
        model=model, device="cpu", generate=lambda: model(x), captured=captured,
        budget_bytes=1 << 20,
    )  # fmt: skip
    player, inputs = HeldUnit(unit_of("0"), stage).player()
    assert "3 sets of weights take turns" in inputs
    assert player.passes % 3 == 0
    called.clear()
    player.run(2 * player.passes)
    assert {len(outputs) for outputs in called.values()} == {2 * player.passes // 3}
    assert len(called) == 3
    assert all(torch.equal(found[0], model[0](x)) for found in list(called.values()))


def test_the_first_set_is_the_model_s_own() -> None:
    net = torch.nn.Linear(2, 2)
    items = in_turn([(net, None), (net, None)], 2)  # type: ignore[list-item]
    assert [module is net for module, _ in items] == [True, True, False, False]
    assert items[2][0] is items[3][0]
    assert items[2][0].weight.data_ptr() != net.weight.data_ptr()
