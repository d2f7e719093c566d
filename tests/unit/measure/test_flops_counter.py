"""Hand arithmetic on small nets: every expected number is written out from the shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import flop_registry

from layerscope.measure.flops import count_work
from layerscope.measure.flops.formulas import Formulas, extra_formulas
from layerscope.records.work import CountedWork

F32 = 4


def by_layer(work: CountedWork) -> dict[str, int]:
    return {row.layer: row.flops for row in work.rows if row.flops}


def add_up(work: CountedWork) -> None:
    assert sum(row.flops for row in work.rows) == work.flops
    assert sum(part.flops for part in work.parts) == work.flops
    assert all(sum(row.flops_by_dtype.values()) == row.flops for row in work.rows)
    assert sum(row.bytes_self for row in work.rows) == work.bytes_moved


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_linear_with_bias(mode: type) -> None:
    net = nn.Sequential(nn.Linear(5, 7))
    x = torch.randn(2, 3, 5)
    with mode():
        work = count_work(net, lambda: net(x), root="forward")
    assert by_layer(work) == {"0": 2 * 2 * 3 * 5 * 7}
    assert {row.phase for row in work.rows} == {"forward"}
    row = work.of("0", "forward")
    assert row is not None
    assert row.bytes_self == F32 * (7 + 2 * 3 * 5 + 5 * 7 + 2 * 3 * 7)  # bias, x, weight, result
    assert row.flops_by_dtype == {"float32": row.flops}
    assert work.macs == 2 * 3 * 5 * 7
    add_up(work)


def test_convolution_with_groups() -> None:
    net = nn.Conv2d(4, 6, kernel_size=3, stride=2, groups=2)
    x = torch.randn(2, 4, 9, 9)
    with torch.no_grad():
        work = count_work(net, lambda: net(x), root="forward")
    out = 4 * 4
    assert work.flops == 2 * (2 * 6 * out) * (4 // 2 * 3 * 3)
    weight = 6 * 2 * 3 * 3
    assert work.bytes_moved == F32 * (2 * 4 * 81 + weight + 6 + 2 * 6 * out)


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_attention_on_each_cpu_kernel(backend: SDPBackend, mode: type) -> None:
    class Attention(nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            return scaled_dot_product_attention(q, k, v)

    net = Attention()
    q, k, v = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8)
    with mode(), sdpa_kernel(backend):
        work = count_work(net, lambda: net(q, k, v), root="forward")
    assert work.flops == 2 * (2 * 3) * 5 * 7 * (8 + 8)
    add_up(work)


def test_the_registry_of_torch_stays_as_it_was() -> None:
    before = dict(flop_registry)
    net = nn.Linear(2, 2)
    count_work(net, lambda: net(torch.ones(1, 2)))
    assert flop_registry == before


def test_heads_that_share_a_key_are_counted_where_torch_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # torch 2.11's formula of its fused attention, in short.
    def of_equal_heads(query: Any, key: Any, value: Any, *_: Any, out_val: Any, **__: Any) -> int:
        (_, heads, queries, depth), (_, key_heads, keys, _) = tuple(query), tuple(key)
        assert heads == key_heads
        return int(2 * heads * queries * keys * 2 * depth)

    operator = torch.ops.aten._scaled_dot_product_cudnn_attention
    monkeypatch.setitem(flop_registry, operator, of_equal_heads)
    query, key = torch.empty(3, 8, 5, 16), torch.empty(3, 2, 7, 16)
    given = (query, key, key, None, False)
    formulas = Formulas()
    wanted = 2 * 3 * 8 * 5 * 7 * (16 + 16)
    assert formulas.count(operator.default, given, {}, (query,)) == wanted
    assert formulas.as_torch(operator.default, given, {}, (query,)) == wanted
    assert operator in extra_formulas()


def test_a_formula_that_someone_registered_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = torch.ops.aten._scaled_dot_product_cudnn_attention
    monkeypatch.setitem(flop_registry, operator, lambda *_, **__: 42)
    query = torch.empty(1, 2, 3, 4)
    assert Formulas().count(operator.default, (query, query, query), {}, (query,)) == 42
    assert operator not in extra_formulas()


def test_tied_weights_are_charged_to_the_module_called() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(6, 6, bias=False)
            self.second = nn.Linear(6, 6, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x)) + self.second(x)

    net = Tied()
    x = torch.ones(3, 6)
    with torch.no_grad():
        work = count_work(net, lambda: net(x), root="forward")
    one = 2 * 3 * 6 * 6
    assert by_layer(work) == {"first": one, "second": 2 * one}
    assert work.parts[0].weight_bytes == 6 * 6 * F32  # the floor moves the one weight once
    assert work.parts[0].input_bytes == 3 * 6 * F32


def test_one_module_under_two_names_is_charged_once() -> None:
    net = nn.Module()
    net.a = nn.Linear(4, 4, bias=False)
    net.b = net.a
    with torch.no_grad():
        work = count_work(net, lambda: net.b(net.a(torch.ones(1, 4))), root="forward")
    assert by_layer(work) == {"a": 2 * (2 * 4 * 4)}
    assert [(row.layer, row.calls) for row in work.rows] == [("forward", 1), ("a", 2)]


def test_views_and_allocations_move_nothing() -> None:
    class Views(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.empty(1000)
            return x.view(6, 2).t().unsqueeze(0).expand(50, 2, 6)[3:, :1]

    net = Views()
    work = count_work(net, lambda: net(torch.arange(12.0).clone().detach()), root="forward")
    row = work.of("forward", "forward")
    assert row is not None
    # What moves is arange (12 written) and clone (12 read, 12 written), in the caller's expression.
    made = work.bytes_moved
    assert made == F32 * (12 + 24)
    assert work.views >= 6


def test_bytes_of_in_place_overwriting_lookup_and_expanded_operands() -> None:
    class Op(nn.Module):
        def __init__(self, run: object) -> None:
            super().__init__()
            self.run = run

        def forward(self) -> None:
            self.run()  # type: ignore[operator]

    x, y = torch.zeros(8), torch.ones(8)
    table, ids = torch.zeros(1000, 4), torch.tensor([3, 4])
    cache, new, at = torch.zeros(100, 4), torch.ones(1, 4), torch.tensor([7])
    wide = torch.ones(1, 8).expand(5, 8)
    cases = {
        "add": (lambda: x.add_(y), 8 + 8 + 8),  # both read, x written
        "copy": (lambda: x.copy_(y), 8 + 8),
        "zero": (lambda: x.zero_(), 8),
        "look": (lambda: nn.functional.embedding(ids, table), 2 * 2 + 8 + 8),  # int64 ids
        "wide": (lambda: wide.mul(2.0), 8 + 40),  # the expanded operand is 8 distinct elements
        "put": (lambda: cache.index_copy_(0, at, new), 2 + 4 + 4),
    }
    net = nn.ModuleDict({name: Op(run) for name, (run, _) in cases.items()})
    with torch.no_grad():
        work = count_work(net, lambda: [op() for op in net.values()], root="forward")
    found = {row.layer: row.bytes_self for row in work.rows if row.layer != "forward"}
    assert found == {name: F32 * elements for name, (_, elements) in cases.items()}


def test_operators_without_a_formula_are_listed_with_their_calls() -> None:
    a, v = torch.ones(4, 4), torch.ones(4)

    def run() -> None:
        a.cumsum(0)
        a.cumsum(0)
        torch.dot(v, v)
        v.softmax(-1)
        v.clone()

    with torch.no_grad():
        work = count_work(nn.Identity(), run)
    found = {op.operator: op.calls for op in work.uncounted}
    assert found == {
        "aten.cumsum.default": 2,
        "aten._softmax.default": 1,
    }
    assert {op.operator: op.calls for op in work.moved} == {"aten.clone.default": 1}
    assert work.flops == 2 * 4  # the dot product
    assert work.missing == ()
    assert [(row.layer, row.operators) for row in work.rows] == [("generate", 5)]


def test_batched_matmuls_are_counted() -> None:
    a, b, c = torch.ones(3, 2, 4), torch.ones(3, 4, 5), torch.ones(3, 2, 5)
    with torch.no_grad():
        assert count_work(nn.Identity(), lambda: torch.bmm(a, b)).flops == 2 * 3 * 2 * 4 * 5
        assert count_work(nn.Identity(), lambda: torch.baddbmm(c, a, b)).flops == 2 * 3 * 2 * 4 * 5
        assert count_work(nn.Identity(), lambda: torch.addmm(c[0], a[0], b[0])).flops == 80
        assert count_work(nn.Identity(), lambda: a @ b).flops == 2 * 3 * 2 * 4 * 5
        einsum = count_work(nn.Identity(), lambda: torch.einsum("bij,bjk->bik", a, b))
        assert einsum.flops == 2 * 3 * 2 * 4 * 5


def test_flops_are_split_by_the_dtype_they_ran_in() -> None:
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False).to(torch.bfloat16))
    x = torch.ones(1, 4)
    with torch.no_grad():
        work = count_work(net, lambda: net[1](net[0](x).to(torch.bfloat16)), root="forward")
    assert {r.layer: r.flops_by_dtype for r in work.rows if r.flops} == {
        "0": {"float32": 32},
        "1": {"bfloat16": 32},
    }
    assert work.parts[0].weight_bytes == 16 * 4 + 16 * 2


def test_an_exception_leaves_no_trace_on_the_model() -> None:
    class Breaks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise KeyboardInterrupt

    net = nn.Sequential(nn.Linear(2, 2), Breaks())
    with pytest.raises(KeyboardInterrupt):
        count_work(net, lambda: net(torch.ones(1, 2)))
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in net.modules())
    assert count_work(net, lambda: net[0](torch.ones(1, 2))).flops == 8


def test_a_caught_exception_does_not_shift_the_work_that_follows() -> None:
    class Breaks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise KeyboardInterrupt  # not an Exception: torch runs no hook for it

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(Breaks())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                return self.inner(x)
            except KeyboardInterrupt:
                return x

    net = nn.Sequential(Outer(), nn.Linear(2, 2))
    with torch.no_grad():
        work = count_work(net, lambda: net(torch.ones(1, 2)), root="forward")
    assert by_layer(work) == {"1": 8}


def test_peak_memory_of_a_layer_is_its_live_tensors() -> None:
    class Wide(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.repeat(1000).sum()

    net = nn.Sequential(Wide(), nn.Identity())
    with torch.no_grad():
        x = torch.ones(10)
        work = count_work(net, lambda: net(x), root="forward")
    peak = {row.layer: row.memory_peak_bytes for row in work.rows}
    # repeat makes a 10,000-element result; sum adds one element while it lives.
    assert peak["0"] == F32 * (10_000 + 1)
    assert peak["1"] == F32
    assert peak["forward"] == peak["0"] == work.memory_peak_bytes
