"""Ranges around module calls: complete while installed, gone without a trace afterwards."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from torch import nn

import layerscope
import layerscope.core.errors
from layerscope.instrument.ranges import LayerRanges
from layerscope.run.capture import Capture


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.layers = nn.ModuleList([nn.ReLU(), nn.Linear(4, 4)])
        self.same = self.linear  # a second name for one module
        self.unused = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, *, twice: bool = False) -> torch.Tensor:
        x = self.linear(x)
        if twice:
            x = self.same(x)
        for layer in self.layers:
            x = layer(x)
        return x


def calls(cap: Capture) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in cap.table.rows:
        found[row.layer] = found.get(row.layer, 0) + row.calls
    return found


def test_every_call_of_a_known_net_is_counted_once() -> None:
    net = Block()
    with layerscope.capture(net) as cap:
        net(torch.ones(2, 4))
        net(torch.ones(2, 4), twice=True)
    cap.table.check()
    assert calls(cap) == {
        "forward": 2,
        "linear": 3,
        "layers": 0,
        "layers.0": 2,
        "layers.1": 2,
        "(outside model)": 0,
    }
    operators = {(o.operator, o.layer): o.calls for o in cap.account.operators}
    assert operators["aten::linear", "linear"] == 3
    assert operators["aten::linear", "layers.1"] == 2
    assert operators["aten::relu", "layers.0"] == 2
    assert not any(layer == "unused" for _, layer in operators)
    rows = {row.layer: row for row in cap.table.rows}
    assert rows["linear"].module == "Linear"
    assert rows["linear"].params == 20


def test_a_direct_call_of_forward_has_a_range_too() -> None:
    net = Block()
    with layerscope.capture(net) as cap:
        net.linear.forward(torch.ones(1, 4))
    assert calls(cap)["linear"] == 1


def test_the_model_is_left_as_it_was() -> None:
    net = Block()
    net.linear.forward = net.linear.forward  # type: ignore[method-assign] # the user's own wrapper
    before = {name: dict(module.__dict__) for name, module in net.named_modules()}
    state = {name: value.clone() for name, value in net.state_dict().items()}
    with layerscope.capture(net):
        assert net.__dict__["forward"] is not before[""].get("forward")
        net(torch.ones(1, 4))
    after = {name: dict(module.__dict__) for name, module in net.named_modules()}
    assert after == before
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_inside_a_module_leaves_nothing_open(error: type[BaseException]) -> None:
    net = Block()

    class Failing(nn.Module):
        fails = True

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.fails:
                raise error
            return x

    net.layers.append(failing := Failing())
    with layerscope.capture(net) as cap:
        with pytest.raises(error):
            net(torch.ones(1, 4))
        failing.fails = False
        net(torch.ones(1, 4))
    cap.table.check()
    # Had a range stayed open, the second call would lie inside it and not be a root of its own.
    assert calls(cap)["forward"] == 2
    assert calls(cap)["layers.2"] == 2
    assert "forward" not in net.__dict__


def test_an_exception_out_of_the_block_restores_the_model_and_has_no_account() -> None:
    net = Block()
    cap = layerscope.capture(net)

    def fail() -> None:
        with cap:
            net(torch.ones(1, 4))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all("forward" not in module.__dict__ for module in net.modules())
    with pytest.raises(layerscope.core.errors.LayerscopeError, match="no trace"):
        _ = cap.table


def test_a_module_that_calls_itself_nests() -> None:
    class Recursive(nn.Module):
        def forward(self, x: torch.Tensor, depth: int) -> torch.Tensor:
            result: torch.Tensor = self(x + 1, depth - 1) if depth else x
            return result

    net = nn.Sequential(Recursive())
    with layerscope.capture(net) as cap:
        net[0](torch.ones(1), 3)
    cap.table.check()
    assert calls(cap)["0"] == 4


def test_signatures_stay_readable_for_transformers() -> None:
    net = Block()
    with LayerRanges(net):
        assert list(inspect.signature(net.forward).parameters) == ["x", "twice"]


def test_marked_phases_of_an_unknown_model() -> None:
    net = Block()
    with layerscope.capture(net) as cap:
        with cap.phase("first"):
            net(torch.ones(1, 4))
        with cap.phase("second"):
            net(torch.ones(1, 4), twice=True)
    cap.table.check()
    found = {(r.layer, r.phase): r.calls for r in cap.table.rows if r.layer == "linear"}
    assert found == {("linear", "first"): 1, ("linear", "second"): 2}


def _count(net: nn.Module, wrap: Callable[[nn.Module], LayerRanges] | None) -> tuple[int, int, int]:
    torch._dynamo.reset()
    x = torch.ones(2, 4)
    if wrap is None:
        explained = torch._dynamo.explain(net)(x)
    else:
        with wrap(net):
            explained = torch._dynamo.explain(net)(x)
    return explained.graph_count, explained.graph_break_count, explained.op_count


def test_under_torch_compile_ranges_change_neither_graphs_nor_breaks_nor_operators() -> None:
    net = Block()
    assert _count(net, LayerRanges) == _count(net, None) == (1, 0, 3)


def test_parts_of_a_scripted_module_are_named_not_wrapped() -> None:
    net = nn.Sequential(torch.jit.script(nn.Sequential(nn.Linear(4, 4))), nn.ReLU())
    with layerscope.capture(net) as cap:
        net(torch.ones(1, 4))
    cap.table.check()
    assert calls(cap) == {"forward": 1, "0": 1, "1": 1, "(outside model)": 0}
    with LayerRanges(net) as ranges:
        net(torch.ones(1, 4))
    assert ranges.uninstrumented == ["0.0"]


def test_a_foreign_transformers_model_adds_up() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=50, n_positions=32)
    model = GPT2LMHeadModel(config).eval()
    tokens = torch.tensor([[1, 2, 3]])
    with torch.no_grad(), layerscope.capture(model) as cap:
        model.generate(tokens, max_new_tokens=4, min_new_tokens=4, do_sample=False, pad_token_id=0)
    cap.table.check()
    found = calls(cap)
    assert found["generate"] == 1
    assert found["transformer.h.0"] == found["transformer.h.1"] == found["lm_head"] == 4
    assert found["transformer.h"] == 0
    assert {row.phase for row in cap.table.rows} == {"prefill", "decode", "other"}
    assert any("not described" in note for note in cap.table.notes)
