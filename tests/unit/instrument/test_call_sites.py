"""Inductor's notes in, layers out: notes written by hand, answers on paper."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.analysis.largest_remainder import deal
from layerscope.instrument.call_sites import TracedNode, call_sites, heavy_operator
from layerscope.instrument.frame_names import relative_fqn
from layerscope.records.provenance import CallSite, LayerWeight

CODE = """
def call(args):
    # [Provenance debug handles] extern_kernels.addmm:1
    extern_kernels.addmm(a, b, c, out=buf0)
    # [Provenance debug handles] triton_poi_fused_add_relu_0:2
    triton_poi_fused_add_relu_0.run(buf0)
        # [Provenance debug handles] extern_kernels.mm:3
    # [Provenance debug handles] triton_poi_fused_add_relu_0:4
"""


def site(name: str, *layers: tuple[str, int], operator: str = "") -> CallSite:
    origin = "unknown" if not layers else "exact" if len(layers) == 1 else "fused"
    return CallSite(name, origin, tuple(LayerWeight(*pair) for pair in layers), operator)  # type: ignore[arg-type]


def test_each_call_is_a_site_in_order_and_a_kernel_called_twice_is_two() -> None:
    nodes = {
        "extern_kernels.addmm:1": ["addmm", "permute"],
        "triton_poi_fused_add_relu_0:2": ["relu", "add_1", "view_3"],
        "extern_kernels.mm:3": ["mm"],
        "triton_poi_fused_add_relu_0:4": ["relu_1"],
    }
    traced_by = {
        "addmm": ["linear"], "permute": ["linear"], "relu": ["act"], "add_1": ["residual"],
        "view_3": ["reshape"], "mm": ["linear_1"], "relu_1": ["act_1"],
    }  # fmt: skip
    traced = {
        "linear": TracedNode("fc1", 999), "act": TracedNode("act", 30),
        "residual": TracedNode("", 10), "reshape": TracedNode("views", 500),
        "linear_1": TracedNode("fc2", 1), "act_1": TracedNode("act2", 7),
    }  # fmt: skip
    assert call_sites(CODE, nodes, traced_by, traced) == (
        site("extern_kernels.addmm", ("fc1", 1), operator="mm"),
        # 30 bytes of act and 10 of the frame itself; the view weighs nothing.
        site("triton_poi_fused_add_relu_0", ("act", 30), ("", 10)),
        site("extern_kernels.mm", ("fc2", 1), operator="mm"),
        site("triton_poi_fused_add_relu_0", ("act2", 7)),
    )


def test_a_heavy_operator_is_claimed_once() -> None:
    """The first call's notes name both matmuls: the second has one candidate and takes it first."""
    code = (
        "# [Provenance debug handles] extern_kernels.mm:1\n"
        "# [Provenance debug handles] extern_kernels.mm:2\n"
        "# [Provenance debug handles] triton_poi_fused_mask_0:3\n"
    )
    nodes = {
        "extern_kernels.mm:1": ["mm_1", "mm"],
        "extern_kernels.mm:2": ["mm_1"],
        # It prepares what mm_1 reads, so its notes name it; the work is not done twice.
        "triton_poi_fused_mask_0:3": ["mm_1", "where"],
    }
    traced_by = {"mm": ["a"], "mm_1": ["b"], "where": ["c"]}
    traced = {name: TracedNode(f"layer.{name}", 4) for name in "abc"}
    assert [s.layers[0].layer for s in call_sites(code, nodes, traced_by, traced)] == [
        "layer.a", "layer.b", "layer.c",
    ]  # fmt: skip


def test_code_that_only_prepares_a_library_call_belongs_to_it() -> None:
    code = (
        "# [Provenance debug handles] cpp_fused_convolution_0:1\n"
        "# [Provenance debug handles] extern_kernels.convolution:2\n"
    )
    nodes = {
        "cpp_fused_convolution_0:1": ["convolution"],
        "extern_kernels.convolution:2": ["convolution"],
    }
    found = call_sites(code, nodes, {"convolution": ["conv"]}, {"conv": TracedNode("patch", 8)})
    assert found == (
        site("cpp_fused_convolution_0", ("patch", 8)),
        site("extern_kernels.convolution", ("patch", 1), operator="convolution"),
    )


MATVECS = """
# [Provenance debug handles] triton_red_fused_mm_0:1
# [Provenance debug handles] triton_red_fused_mm_1:2
# [Provenance debug handles] triton_per_fused_mm_2:3
# [Provenance debug handles] triton_per_fused_softmax_3:4
# [Provenance debug handles] extern_kernels.bmm:5
"""


def test_generated_matrix_vector_products_are_their_layers_whatever_is_fused_to_them() -> None:
    nodes = {
        # Query, key and value in one kernel, after the norm's last product.
        "triton_red_fused_mm_0:1": ["mul_1", "mul_2", "sum_1", "mul_3", "sum_2", "mul_4", "sum_3"],
        # A sum in two steps, the second with the activation behind it.
        "triton_red_fused_mm_1:2": ["mul_5", "sum_4"],
        "triton_per_fused_mm_2:3": ["sum_4", "relu"],
        # The softmax's own sum: its attention's products run in a library.
        "triton_per_fused_softmax_3:4": ["sum_5", "add"],
        "extern_kernels.bmm:5": ["bmm"],
    }
    traced_by = {
        "mul_1": ["norm"], "mul_2": ["q"], "sum_1": ["q"], "mul_3": ["k"], "sum_2": ["k"],
        "mul_4": ["v"], "sum_3": ["v"], "mul_5": ["wi"], "sum_4": ["wi"], "relu": ["act"],
        "sum_5": ["attention"], "bmm": ["attention"], "add": ["bias"],
    }  # fmt: skip
    traced = {
        "norm": TracedNode("norm", 500),
        **{name: TracedNode(name, 8, "mm", 136) for name in "qkv"},
        "wi": TracedNode("wi", 8, "mm", 1000), "act": TracedNode("act", 8),
        "attention": TracedNode("attn", 16, "sdpa", 99), "bias": TracedNode("bias", 16),
    }  # fmt: skip
    assert call_sites(MATVECS, nodes, traced_by, traced) == (
        site("triton_red_fused_mm_0", ("q", 136), ("k", 136), ("v", 136)),
        site("triton_red_fused_mm_1", ("wi", 1000), operator="mm"),
        site("triton_per_fused_mm_2", ("wi", 1000)),
        site("triton_per_fused_softmax_3", ("attn", 16), ("bias", 16)),
        site("extern_kernels.bmm", ("attn", 1), operator="bmm"),
    )


def test_without_notes_the_layers_are_unknown() -> None:
    assert [s.origin for s in call_sites(CODE, {}, {}, {})] == ["unknown"] * 4


def test_only_views_and_empty_outputs_still_name_their_layers() -> None:
    code = "# [Provenance debug handles] triton_poi_fused_view_0:1\n"
    nodes = {"triton_poi_fused_view_0:1": ["view", "permute_2"]}
    traced_by = {"view": ["a"], "permute_2": ["b"]}
    traced = {"a": TracedNode("a", 0), "b": TracedNode("b", 0)}
    assert call_sites(code, nodes, traced_by, traced) == (
        site("triton_poi_fused_view_0", ("a", 1), ("b", 1)),
    )


@pytest.mark.parametrize(
    ("node", "operator"),
    [
        ("mm", "mm"), ("addmm_12", "mm"), ("bmm_3", "bmm"), ("convolution", "convolution"),
        ("_scaled_dot_product_flash_attention_for_cpu_1", "sdpa"),
        ("_scaled_dot_product_cudnn_attention", "sdpa"), ("add_3", ""),
        ("_scaled_dot_product_attention_math", ""), ("mean", ""),
    ],
)  # fmt: skip
def test_heavy_operators(node: str, operator: str) -> None:
    assert heavy_operator(node) == operator


@pytest.mark.parametrize(
    ("name", "fqn"),
    [
        ("L['self']", ""),
        ("L['self'].encoder.layers.0", "encoder.layers.0"),
        ("L['self']._modules['encoder']._modules['layers'][3].mlp", "encoder.layers.3.mlp"),
        ("L['self'].blocks.slice(None, 2, None).1.fc", "blocks.1.fc"),
        ("L['fn'].__self__.fc", "fc"),
        ("L['self']._orig_mod.fc", "fc"),
        ("G['model'].heads['left']", "heads.left"),
    ],
)
def test_dynamos_names(name: str, fqn: str) -> None:
    assert relative_fqn(name) == fqn


@given(
    total=st.integers(0, 2**40),
    weights=st.lists(st.integers(0, 2**40), min_size=1, max_size=9).filter(any),
)
def test_dealt_parts_add_up_and_are_nearest(total: int, weights: list[int]) -> None:
    parts = deal(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - total * weight) < sum(weights)


def test_the_largest_remainder_gets_the_rest() -> None:
    assert deal(10, [1, 1, 1]) == [4, 3, 3]
    assert deal(7, [2, 5, 0]) == [2, 5, 0]
    assert deal(3, [1, 5]) == [1, 2]  # 0.5 and 2.5: the first of equals
