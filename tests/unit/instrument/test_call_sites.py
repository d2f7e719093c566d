"""Inductor's notes in, layers out: notes written by hand, answers on paper."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerscope.account.largest_remainder import deal
from layerscope.core.frame_names import parts_of, raw_layer, relative_fqn
from layerscope.instrument.call_sites import Sites, TracedNode, call_sites
from layerscope.instrument.calling_frame import CallingFrames, Start
from layerscope.instrument.graph_notes import GraphNotes, NotedProduct
from layerscope.instrument.heavy_operators import heavy_name
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


def site(
    name: str, *layers: tuple[str, int], operator: str = "", products: tuple[str, ...] | None = None
) -> CallSite:
    origin = "unknown" if not layers else "exact" if len(layers) == 1 else "fused"
    if products is None:
        products = (layers[0][0],) if operator and layers else ()
    parts = tuple(LayerWeight(*pair) for pair in layers)
    return CallSite(name, origin, parts, operator, products)  # type: ignore[arg-type]


def notes(
    products: dict[str, str | None],
    layers: dict[str, str | None] | None = None,
    *,
    more: tuple[int, ...] = (),
) -> GraphNotes:
    """Notes on one graph: heavy node -> layer; None for one that a pass made of what is not known."""
    found = {
        node: (NotedProduct((key,) if layer is not None else (), layer, heavy_name(node)),)
        for key, (node, layer) in enumerate(products.items())
    }
    wanted = (*range(len(products)), *more)
    return GraphNotes({"": found}, {"": layers or {}}, {"": ()}, wanted)


def sites(*args: object) -> tuple[CallSite, ...]:
    found: Sites = call_sites(*args)  # type: ignore[arg-type]
    assert found.problem == ""
    return found.sites


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
    known = notes({"addmm": "fc1", "mm": "fc2"})
    assert sites(CODE, nodes, traced_by, traced, known) == (
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
    known = notes({"mm": "layer.a", "mm_1": "layer.b"})
    assert [s.layers[0].layer for s in sites(code, nodes, traced_by, traced, known)] == [
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
    known = notes({"convolution": "patch"})
    traced = {"conv": TracedNode("patch", 8)}
    assert sites(code, nodes, {"convolution": ["conv"]}, traced, known) == (
        site("cpp_fused_convolution_0", ("patch", 1)),
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
    known = notes({"bmm": "attn"})
    assert sites(MATVECS, nodes, traced_by, traced, known) == (
        site(
            "triton_red_fused_mm_0",
            ("q", 136),
            ("k", 136),
            ("v", 136),
            operator="mm",
            products=("q", "k", "v"),
        ),
        site("triton_red_fused_mm_1", ("wi", 1000), operator="mm"),
        site("triton_per_fused_mm_2", ("wi", 1000)),
        site("triton_per_fused_softmax_3", ("attn", 16), ("bias", 16)),
        site("extern_kernels.bmm", ("attn", 1), operator="bmm"),
    )


def test_without_notes_the_layers_are_unknown() -> None:
    found = call_sites(CODE, {}, {}, {}, None)
    assert [s.origin for s in found.sites] == ["unknown"] * 4
    assert "nothing could be noted" in found.problem


def test_a_library_call_that_claims_no_heavy_operator_is_unknown() -> None:
    """Its node was made by a pass: what inductor says of its origin may be another's layer."""
    code = "# [Provenance debug handles] extern_kernels.topk:1\n"
    nodes, traced = {"extern_kernels.topk:1": ["topk"]}, {"sort": TracedNode("wrong", 8)}
    (made,) = sites(code, nodes, {"topk": ["sort"]}, traced, notes({}, {"topk": None}))
    assert (made.origin, made.layers) == ("unknown", ())
    (kept,) = sites(code, nodes, {"topk": ["sort"]}, traced, notes({}, {"topk": "router"}))
    assert kept == site("extern_kernels.topk", ("router", 1))


@pytest.mark.parametrize(
    ("origins", "layer"),
    [
        ((TracedNode("fc", 8, called="lib.op_"),), "fc"),
        ((TracedNode("fc", 8, called="lib.op_.default"),), "fc"),
        ((TracedNode("fc", 8, called="lib.op_"), TracedNode("up", 8, called="lib.op_")), None),
        ((TracedNode("fc", 8, called="lib.op_"), TracedNode("fc", 8)), None),
        ((TracedNode("fc", 8, called="lib.op"),), None),
        ((TracedNode("fc", 8, "mm", called="lib.op_"),), None),
        ((), None),
    ],
)
def test_an_operator_that_works_in_place_is_its_callers(
    origins: tuple[TracedNode, ...], layer: str | None
) -> None:
    """A pass made its node; the layer follows where the model calls that very operator, in one layer."""
    code = "# [Provenance debug handles] torch.ops.lib.op_.default:1\n"
    nodes = {"torch.ops.lib.op_.default:1": ["op__default"]}
    traced = {f"t{number}": origin for number, origin in enumerate(origins)}
    (found,) = sites(
        code, nodes, {"op__default": list(traced)}, traced, notes({}, {"op__default": None})
    )
    assert found.layers == (() if layer is None else site("", (layer, 1)).layers)
    assert found.origin == ("unknown" if layer is None else "exact")


@pytest.mark.parametrize(
    ("products", "more", "words"),
    [
        ({"addmm": "fc1", "mm": "fc2"}, (7,), "of 3 heavy operators 1 not found in its kernels"),
        ({"addmm": "fc1", "mm": None}, (), "1 not found in its kernels, 1 in its kernels that"),
    ],
)
def test_a_graph_whose_claims_do_not_fit_is_not_known_at_all(
    products: dict[str, str | None], more: tuple[int, ...], words: str
) -> None:
    nodes = {"extern_kernels.addmm:1": ["addmm"], "extern_kernels.mm:3": ["mm"]}
    found = call_sites(CODE, nodes, {}, {}, notes(products, more=more))
    assert {s.origin for s in found.sites} == {"unknown"}
    assert words in found.problem


def two_products(**reads: tuple[str, ...]) -> GraphNotes:
    both = tuple(
        NotedProduct((key,), layer, "mm", work=10 * (key + 1), reads=reads[layer])
        for key, layer in enumerate(reads)
    )
    return GraphNotes({"": {"mm_plus_mm": both}}, {}, {"": ()}, (0, 1))


def test_one_kernel_for_two_products_is_shared_by_what_each_multiplies() -> None:
    code = "# [Provenance debug handles] triton_tem_fused_mm_plus_mm_0:1\n"
    nodes = {"triton_tem_fused_mm_plus_mm_0:1": ["mm_plus_mm"]}
    assert sites(code, nodes, {}, {}, two_products(a=(), b=())) == (
        site(
            "triton_tem_fused_mm_plus_mm_0",
            ("a", 10),
            ("b", 20),
            operator="mm",
            products=("a", "b"),
        ),
    )


def test_two_calls_for_two_products_are_told_apart_by_what_they_read() -> None:
    code = (
        "# [Provenance debug handles] extern_kernels.mm:1\n"
        "extern_kernels.mm(arg3_1, arg2_1, out=buf0)\n"
        "# [Provenance debug handles] extern_kernels.mm:2\n"
        "extern_kernels.mm(arg1_1, arg0_1, out=buf1)\n"
    )
    nodes = {f"extern_kernels.mm:{i}": ["mm_plus_mm"] for i in (1, 2)}
    known = two_products(a=("arg0_1", "arg1_1"), b=("arg2_1", "arg3_1"))
    assert [s.products for s in sites(code, nodes, {}, {}, known)] == [("b",), ("a",)]
    # Where the code does not say which is which, each may be either: shared, and one too many.
    found = call_sites(code, nodes, {}, {}, two_products(a=(), b=()))
    assert "found in several" in found.problem
    assert {s.origin for s in found.sites} == {"unknown"}


def test_only_views_and_empty_outputs_still_name_their_layers() -> None:
    code = "# [Provenance debug handles] triton_poi_fused_view_0:1\n"
    nodes = {"triton_poi_fused_view_0:1": ["view", "permute_2"]}
    traced_by = {"view": ["a"], "permute_2": ["b"]}
    traced = {"a": TracedNode("a", 0), "b": TracedNode("b", 0)}
    assert sites(code, nodes, traced_by, traced, notes({})) == (
        site("triton_poi_fused_view_0", ("a", 1), ("b", 1)),
    )


@pytest.mark.parametrize(
    ("node", "operator"),
    [
        ("mm", "mm"), ("addmm_12", "mm"), ("bmm_3", "bmm"), ("convolution", "convolution"),
        ("_scaled_dot_product_flash_attention_for_cpu_1", "sdpa"),
        ("_scaled_dot_product_cudnn_attention", "sdpa"), ("add_3", ""),
        ("_scaled_dot_product_attention_math", ""), ("mean", ""), ("addmm_default", "mm"),
        ("addmm_default_2", "mm"), ("mm_plus_mm_1", "mm"), ("_linear_pointwise_default", "mm"),
        ("_scaled_mm", "mm"), ("_grouped_mm_3", "mm"), ("baddbmm_default", "bmm"),
        ("_scaled_dot_product_flash_attention_backward", ""),
    ],
)  # fmt: skip
def test_heavy_operators(node: str, operator: str) -> None:
    assert heavy_name(node) == operator


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


@pytest.mark.parametrize(
    ("name", "start", "path"),
    [
        ("L['self'].layers.0.fc", "L['self']", "layers.0.fc"),
        ("L['forward'].__self__.0", "L['forward'].__self__", "0"),
        ("L['s'].a._old_forward.__self__.fc", "L['s'].a._old_forward.__self__", "fc"),
        (
            "L['s'].a.forward.__closure__[1].cell_contents.b.forward.args[0].fc",
            "L['s'].a.forward.__closure__[1].cell_contents.b.forward.args[0]",
            "fc",
        ),
        ("L['s'].forward_proj.fc", "L['s'].forward_proj", "fc"),
        ("L['args'][0].self_attn.q_proj", "L['args'][0]", "self_attn.q_proj"),
        ("", "", ""),
    ],
)
def test_a_name_starts_behind_what_is_no_module(name: str, start: str, path: str) -> None:
    assert parts_of(raw_layer(name)) == (start, path)


def test_the_start_of_a_name_is_found_in_the_frame() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Sequential(torch.nn.ReLU()))
    frames = CallingFrames(net)
    kept, held = [net[1].forward], {"it": net}
    assert len(kept) == len(held) == 1
    bases = ("L['kept'][0].__self__", "L['held']['it'].1", "L['kept'][1]", "L['gone'].fc")
    assert frames.starts(bases) == {
        bases[0]: Start("1"), bases[1]: Start("1"), bases[2]: None, bases[3]: None,
    }  # fmt: skip


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


def test_frames_whose_code_has_no_hash_are_looked_at_like_others() -> None:
    """Dynamo writes slices into the code of what it resumes."""
    net = torch.nn.Sequential(torch.nn.Linear(2, 2))
    frames = CallingFrames(net)

    def resumed(self: torch.nn.Module) -> object:
        return frames.starts([""])

    code = resumed.__code__
    resumed.__code__ = code.replace(co_consts=(*code.co_consts, slice(1, 2)))
    assert resumed(net[0]) == {"": None}  # no forward, and not the call of a module
