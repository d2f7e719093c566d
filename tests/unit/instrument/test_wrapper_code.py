"""The text of inductor's wrapper in, its kernel calls in the order of their running out."""

from __future__ import annotations

from layerscope.instrument.call_sites import call_sites
from layerscope.instrument.graph_notes import GraphNotes, NotedProduct
from layerscope.instrument.wrapper_code import handles, kernel_calls


def call(name: str, handle: int, indent: int = 4) -> str:
    space = " " * indent
    return f"{space}# [Provenance debug handles] {name}:{handle}\n{space}{name}(arg0_1, out=buf0)\n"


BRANCHES = (
    "def true_graph_0(args):\n" + call("extern_kernels.mm", 2)
    + "\ndef false_graph_0(args):\n" + call("extern_kernels.mm", 3) + call("cpp_fused_sin_1", 4)
    + "\nclass Runner:\n    def call(self, args):\n        arg0_1, = args\n"
    + call("cpp_fused_gt_0", 1, 8)
    + "        if buf1.item():\n            true_graph_0_args = [arg0_1, arg1_1]\n"
    + "            buf2 = true_graph_0(true_graph_0_args)\n        else:\n"
    + "            false_graph_0_args = [arg0_1]\n            buf2 = false_graph_0(false_graph_0_args)\n"
    + call("extern_kernels.addmm", 5, 8)
    + "\nrunner = Runner(partitions=[])\ndef benchmark_compiled_module(args):\n    pass\n"
)  # fmt: skip


def test_branches_stand_where_they_are_called_and_run_only_sometimes() -> None:
    found = [(c.name, c.handle, c.part, c.sometimes) for c in kernel_calls(BRANCHES)]
    assert found == [
        ("cpp_fused_gt_0", "1", "", False),
        ("extern_kernels.mm", "2", "true_graph_0", True),
        ("extern_kernels.mm", "3", "false_graph_0", True),
        ("cpp_fused_sin_1", "4", "false_graph_0", True),
        ("extern_kernels.addmm", "5", "", False),
    ]
    assert handles(BRANCHES) == set("12345")


def test_a_branch_is_unknown_and_what_stands_around_it_is_known() -> None:
    """Nodes of the two branches have one name; they are told apart by their sub-graph."""
    nodes = {
        "cpp_fused_gt_0:1": ["gt"], "extern_kernels.mm:2": ["mm"], "extern_kernels.mm:3": ["mm"],
        "cpp_fused_sin_1:4": ["sin"], "extern_kernels.addmm:5": ["addmm"],
    }  # fmt: skip
    notes = GraphNotes(
        products={
            "": {"addmm": (NotedProduct((0,), "c", "mm"),)},
            "true_graph_0": {"mm": (NotedProduct((1,), "a", "mm"),)},
            "false_graph_0": {"mm": (NotedProduct((2,), "b", "mm"),)},
        },
        wanted=(0, 1, 2),
    )
    found = call_sites(BRANCHES, nodes, {}, {}, notes)
    assert found.problem == ""
    assert [(s.origin, s.products, s.sometimes) for s in found.sites] == [
        ("unknown", (), False), ("unknown", (), True), ("unknown", (), True), ("unknown", (), True),
        ("exact", ("c",), False),
    ]  # fmt: skip


REGIONS = (
    "def repeated_subgraph0(args):\n" + call("extern_kernels.mm", 1) + call("cpp_fused_relu_0", 2)
    + "\ndef call(args):\n    arg0_1, arg1_1, arg2_1 = args\n"
    + "    repeated_subgraph0_args = [arg0_1, arg1_1]\n"
    + "    buf0 = repeated_subgraph0(repeated_subgraph0_args)\n"
    + "    repeated_subgraph0_args = [buf0, arg2_1]\n"
    + "    buf1 = repeated_subgraph0(repeated_subgraph0_args)\n"
)  # fmt: skip


def regions(*inputs: str | None) -> list[tuple[str, ...]]:
    nodes = {"extern_kernels.mm:1": ["mm"], "cpp_fused_relu_0:2": ["relu", "invoke_subgraph"]}
    product = NotedProduct((0,), "blocks.0.up", "mm", reads=("arg1_1",))
    notes = GraphNotes(
        products={"repeated_subgraph0": {"mm": (product,)}},
        layers={"repeated_subgraph0": {"relu": "blocks.0"}},
        inputs={"": ("arg0_1", "arg1_1", "arg2_1"), "repeated_subgraph0": ("arg0_1", "arg1_1")},
        wanted=(0,),
    )
    found = call_sites(REGIONS, nodes, {}, {}, notes, inputs)
    assert found.problem == ""
    return [tuple(part.layer for part in site.layers) for site in found.sites]


def test_each_call_of_a_region_is_the_block_whose_parameters_it_gets() -> None:
    assert [c.instance for c in kernel_calls(REGIONS)] == [0, 0, 1, 1]
    assert regions(None, "blocks.0.up", "blocks.7.up") == [
        ("blocks.0.up",), ("blocks.0",), ("blocks.7.up",), ("blocks.7",),
    ]  # fmt: skip


def test_a_region_whose_parameters_say_nothing_is_unknown() -> None:
    assert regions(None, None, None) == [(), (), (), ()]
    # The compiler left an input out: all behind it would be another's.
    assert regions(None, "blocks.7.up") == [(), (), (), ()]


def test_partitions_run_where_they_are_called() -> None:
    code = (
        "def partition_0(args):\n" + call("triton_poi_fused_0", 1)
        + "\ndef partition_1(args):\n    with torch.cuda._DeviceGuard(0):\n"
        + call("triton_poi_fused_1", 3, 8)
        + "\nclass Runner:\n    def call(self, args):\n        partition0_args = [arg0_1]\n"
        + "        (buf0,) = self.partitions[0](partition0_args)\n"
        + call("extern_kernels.mm", 2, 8)
        + "        (buf5,) = self.partitions[1](partition1_args)\n"
    )  # fmt: skip
    found = [(c.handle, c.part, c.sometimes) for c in kernel_calls(code)]
    assert found == [("1", "", False), ("2", "", False), ("3", "", False)]


def test_code_in_a_function_that_nothing_calls_makes_the_graph_unknown() -> None:
    code = (
        "def helper_7(args):\n" + call("extern_kernels.mm", 1) + "\ndef call(args):\n    return\n"
    )
    found = call_sites(code, {"extern_kernels.mm:1": ["mm"]}, {}, {}, GraphNotes())
    assert "order that is not understood" in found.problem
