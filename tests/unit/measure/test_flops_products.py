"""Products that run inside one operator: counted by hand arithmetic, or blank with the operator."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.attention.flex_attention import flex_attention
from torch.utils.flop_counter import FlopCounterMode, flop_registry, register_flop_formula

import layerscope
from layerscope.core.errors import UsageError
from layerscope.measure.flops import count_work
from layerscope.records.work import CountedWork

SPARSE = torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]])  # 3 stored elements
COMPLEX = torch.ones(4, 5, dtype=torch.complex64)
I8 = torch.ones(32, 64, dtype=torch.int8)
BF16 = torch.ones(16, 8, dtype=torch.bfloat16)


def counted(run: Callable[[], object], net: nn.Module | None = None) -> CountedWork:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # prototypes: sparse CSR, nested tensors
        return count_work(nn.Identity() if net is None else net, run, root="forward")


def fp8(rows: int, columns: int) -> torch.Tensor:
    return torch.ones(rows, columns).to(torch.float8_e4m3fn)


@pytest.mark.parametrize("grad", [False, True])
def test_lstm_of_two_layers(grad: bool) -> None:
    net, x = nn.LSTM(12, 24, 2), torch.randn(7, 2, 12)
    with torch.set_grad_enabled(grad):
        work = count_work(net, lambda: net(x), root="forward")
    gates = 4 * 24
    assert work.flops == 2 * (7 * 2) * (gates * (12 + 24) + gates * (24 + 24)) == 225_792
    assert not work.missing


def test_both_directions_of_a_packed_sequence() -> None:
    net = nn.LSTM(12, 24, bidirectional=True)
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(7, 2, 12), [7, 3])
    assert counted(lambda: net(packed), net).flops == 2 * (2 * 10 * 96 * (12 + 24))


def test_cudnn_runs_all_layers_and_directions_in_one_operator() -> None:
    """On the meta device, which knows the operator's shapes without a GPU."""
    net = nn.LSTM(12, 24, 2, bidirectional=True, proj_size=8, device="meta")
    x = torch.empty(7, 2, 12, device="meta")
    state, cell = torch.empty(4, 2, 8, device="meta"), torch.empty(4, 2, 24, device="meta")

    def run() -> object:
        weights = net._flat_weights
        return torch.ops.aten._cudnn_rnn(
            x, weights, 5, None, state, cell, 2, 24, 8, 2, False, 0.0, False, True, [], None
        )  # fmt: skip

    gates, rows = 4 * 24, 7 * 2
    first, second = gates * (12 + 8) + 8 * 24, gates * (2 * 8 + 8) + 8 * 24
    assert counted(run).flops == 2 * rows * 2 * (first + second)


def test_fast_paths_of_a_transformer_layer() -> None:
    net = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
    x, tokens = torch.randn(2, 10, 32), 2 * 10
    projections = 2 * tokens * 32 * (3 * 32 + 32)
    attention = projections + 2 * (2 * 10 * 10 * 32) * 2
    assert attention == 189_440
    whole = attention + 2 * tokens * 2 * 32 * 64
    assert whole == 353_280
    # Not hooked, the layer is one operator; hooked it runs its parts, with the same products.
    assert counted(lambda: net(x)).flops == whole
    assert counted(lambda: net(x), net).flops == whole
    heads = net.self_attn
    assert counted(lambda: heads(x, x, x), heads).flops == attention


@pytest.mark.parametrize(
    ("run", "flops", "dtype"),
    [
        (lambda: torch._int_mm(I8, I8.t().contiguous()), 2 * 32 * 64 * 32, "int8"),
        (lambda: torch._weight_int8pack_mm(
            torch.ones(4, 32).bfloat16(), torch.ones(64, 32, dtype=torch.int8),
            torch.ones(64).bfloat16()), 2 * 4 * 32 * 64, "int8"),
        (lambda: torch._scaled_mm(
            fp8(16, 32), fp8(16, 32).t(), torch.tensor(1.0), torch.tensor(1.0),
            out_dtype=torch.bfloat16), 2 * 16 * 32 * 16, "float8"),
        (lambda: torch.ones(2, 3, dtype=torch.long) @ torch.ones(3, 4, dtype=torch.long),
         2 * 2 * 3 * 4, "int64"),
        (lambda: torch.mv(torch.ones(3, 4), torch.ones(4)), 2 * 3 * 4, "float32"),
        (lambda: torch.vdot(torch.ones(7), torch.ones(7)), 2 * 7, "float32"),
        (lambda: torch.ones(2, 5).addmm_(torch.ones(2, 4), torch.ones(4, 5)), 2 * 2 * 4 * 5,
         "float32"),
        (lambda: torch.ones(3, 2, 5).baddbmm_(torch.ones(3, 2, 4), torch.ones(3, 4, 5)),
         2 * 3 * 2 * 4 * 5, "float32"),
        (lambda: torch.mm(torch.ones(2, 4), torch.ones(4, 5), out=torch.empty(2, 5)),
         2 * 2 * 4 * 5, "float32"),
        (lambda: torch.addr(torch.ones(3, 4), torch.ones(3), torch.ones(4)), 24, "float32"),
        (lambda: torch.addbmm(torch.ones(2, 5), torch.ones(3, 2, 4), torch.ones(3, 4, 5)),
         2 * 3 * 2 * 4 * 5, "float32"),
        # 4 real products and 4 real additions for each complex multiply-accumulate.
        (lambda: COMPLEX @ COMPLEX.t(), 8 * 4 * 5 * 4, "complex64"),
        (lambda: torch.mv(COMPLEX, COMPLEX[0]), 8 * 4 * 5, "complex64"),
        # Of a sparse operand what is stored: 3 elements.
        (lambda: torch.sparse.mm(SPARSE.to_sparse(), torch.ones(3, 4)), 2 * 3 * 4, "float32"),
        (lambda: SPARSE.to_sparse_csr() @ torch.ones(3, 4), 2 * 3 * 4, "float32"),
        (lambda: SPARSE.to_sparse() @ torch.ones(3), 2 * 3, "float32"),
        (lambda: torch.ones(4, 2) @ SPARSE.to_sparse_csr(), 2 * 3 * 4, "float32"),
        # Columns hold 1, 1, 1 elements, the rows of the transposed 1, 1, 1.
        (lambda: SPARSE.to_sparse() @ SPARSE.t().to_sparse(), 2 * 3, "float32"),
        (lambda: torch.cdist(torch.ones(30, 8), torch.ones(40, 8)), 2 * 30 * 40 * 10, "float32"),
        (lambda: nn.functional.affine_grid(torch.ones(2, 2, 3), [2, 1, 4, 5]),
         2 * 2 * 4 * 5 * 2 * 3, "float32"),
    ],
)  # fmt: skip
def test_other_products_by_hand(run: Callable[[], object], flops: int, dtype: str) -> None:
    work = counted(run)
    assert work.flops == flops
    (row,) = work.rows
    assert row.flops_by_dtype == {dtype: flops}


def test_bilinear() -> None:
    net = nn.Bilinear(3, 4, 7)
    x, y = torch.randn(5, 3), torch.randn(5, 4)
    with_the_first, with_the_second = 5 * 7 * 3 * 4, 5 * 7 * 4
    assert counted(lambda: net(x, y), net).flops == 2 * (with_the_first + with_the_second)


def test_groups_count_by_their_sizes() -> None:
    weights = torch.ones(3, 8, 8, dtype=torch.bfloat16)
    ends = torch.tensor([3, 3, 12], dtype=torch.int32)  # an empty group; 4 rows in none
    assert counted(lambda: torch._grouped_mm(BF16, weights, offs=ends)).flops == 2 * 12 * 8 * 8
    inner = torch.ones(16, 8, dtype=torch.bfloat16)
    by_inner = counted(lambda: torch._grouped_mm(BF16.t(), inner, offs=ends))
    assert by_inner.flops == 2 * 8 * 8 * 12
    on_meta = counted(
        lambda: torch._grouped_mm(BF16.to("meta"), weights.to("meta"), offs=ends.to("meta"))
    )
    assert on_meta.flops is None  # how long the groups are is not known there


def test_dynamically_quantised_linear() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is deprecated, and in use
        net = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(32, 64)), {nn.Linear})
    work = counted(lambda: net(torch.ones(4, 32)), net)
    (row,) = (row for row in work.rows if row.flops)
    assert row.flops_by_dtype == {"int8": 16_384}
    weight, bias, x, result = 64 * 32, 4 * 64, 4 * 4 * 32, 4 * 4 * 64
    assert row.bytes_self == weight + bias + x + result


def test_flex_attention_and_compiled_parts_run_eagerly() -> None:
    q = torch.ones(1, 2, 16, 8)
    assert counted(lambda: flex_attention(q, q, q)).flops == 2 * (2 * 16 * 16) * (8 + 8)
    fast = torch.compile(nn.Linear(4, 4))
    assert counted(lambda: fast(torch.ones(2, 4)), fast).flops == 2 * 2 * 4 * 4


def test_scripted_and_nested_modules() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    assert counted(lambda: scripted(torch.ones(2, 4)), scripted).flops == 2 * 2 * 4 * 4
    net = nn.Linear(8, 4)
    ragged = torch.nested.nested_tensor([torch.ones(3, 8), torch.ones(5, 8)], layout=torch.jagged)
    assert counted(lambda: net(ragged), net).flops == 2 * (3 + 5) * 8 * 4


@torch.library.custom_op("layerscope_tests::scores", mutates_args=())
def scores(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """A kernel with a product inside that nobody outside sees, as flash-attn's is."""
    return q @ k.transpose(-1, -2)


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"q": nn.Linear(8, 8), "k": nn.Linear(8, 8)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return scores(self.inner["q"](x), self.inner["k"](x))


@pytest.mark.parametrize(
    ("run", "name"),
    [
        (lambda: scores(torch.ones(2, 3), torch.ones(2, 3)), "layerscope_tests.scores.default"),
        (lambda: torch.fft.rfft(torch.ones(8)), "aten._fft_r2c.default"),
        (lambda: torch.linalg.cholesky(torch.eye(3)), "aten.linalg_cholesky_ex.default"),
        (lambda: torch.linalg.solve(torch.eye(3), torch.ones(3, 1)), "aten._linalg_solve_ex.default"),
        (lambda: torch.linalg.svd(torch.eye(3)), "aten._linalg_svd.default"),
    ],
)  # fmt: skip
def test_products_without_a_formula_are_missing(run: Callable[[], object], name: str) -> None:
    work = counted(run)
    assert work.flops is None
    assert work.macs is None
    assert [op.operator for op in work.missing] == [name]
    assert work.missing_text == f"products are missing: no FLOP formula for {name} (1 call)"


def test_only_what_lies_above_a_missing_product_is_blank() -> None:
    net, x = nn.Sequential(Attends(), nn.Linear(4, 4)), torch.ones(4, 8)
    table = layerscope.count_flops(net, x)
    one = 2 * 4 * 8 * 8
    assert {row.layer: (row.flops_self, row.flops_total) for row in table} == {
        "forward": (0, None),
        "0": (None, None),
        "0.inner": (0, 2 * one),
        "0.inner.q": (one, one),
        "0.inner.k": (one, one),
        "1": (2 * 4 * 4 * 4, 2 * 4 * 4 * 4),
    }
    assert table.total is None
    assert table.counted == 2 * one + 128
    assert table["0"].missing == ("layerscope_tests.scores.default",)
    assert "layerscope_tests.scores.default (1 call)" in table.reason


def test_a_registered_formula_counts() -> None:
    packet = torch.ops.layerscope_tests.scores
    try:

        @register_flop_formula(packet)
        def formula(q: tuple[int, ...], k: tuple[int, ...], **_: object) -> int:
            return 2 * q[0] * q[1] * k[0]

        table = layerscope.count_flops(Attends(), torch.ones(4, 8))
        assert table["forward"].flops_self == 2 * 4 * 8 * 4
        assert table.total == 2 * (2 * 4 * 8 * 8) + 2 * 4 * 8 * 4
    finally:
        flop_registry.pop(packet)


def test_count_flops_equals_torch_where_both_count() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, groups=1), nn.Flatten(), nn.Linear(4 * 36, 5))
    x = torch.ones(2, 3, 8, 8)
    with FlopCounterMode(display=False) as torchs:
        net(x)
    table = layerscope.count_flops(net, x)
    assert table.total == torchs.get_total_flops() == 2 * (2 * 4 * 36 * 27 + 2 * 144 * 5)
    assert [row.layer for row in table] == ["forward", "0", "1", "2"]
    assert table["0"].module == "Conv2d"
    assert table["2"].macs_total == 2 * 144 * 5


def test_count_flops_is_public_and_says_what_it_needs() -> None:
    assert "count_flops" in layerscope.__all__
    assert "count_flops" in dir(layerscope)
    with pytest.raises(UsageError, match=r"int is not a torch.nn.Module"):
        layerscope.count_flops(3)  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        layerscope.count_flops(nn.Identity(), 1)["nowhere"]


def test_a_backward_pass_through_a_fused_kernel_is_missing_too() -> None:
    net, x = nn.LSTM(4, 4), torch.randn(2, 1, 4)
    work = count_work(net, lambda: net(x)[0].sum().backward(), root="forward")
    assert work.flops is None
    assert [op.operator for op in work.missing] == ["aten.mkldnn_rnn_layer_backward.default"]


def test_torchs_own_count_stands_beside_ours() -> None:
    def run() -> None:
        COMPLEX @ COMPLEX.t()
        torch.mv(torch.ones(3, 4), torch.ones(4))
        torch.ops.profiler._record_function_enter_new("a mark")

    with FlopCounterMode(display=False) as torchs:
        run()
    work = counted(run)
    assert work.flops_as_torch == torchs.get_total_flops() == 2 * 4 * 5 * 4
    assert work.flops == 4 * (2 * 4 * 5 * 4) + 2 * 3 * 4
