"""Traces of compiled code, made by hand: every nanosecond of each kernel and call known on paper."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from support.kineto import TraceWriter

from layerscope.account.account import account, work_out
from layerscope.account.compiled_code import event_name
from layerscope.account.graph_replays import Matched, Proof, captured_launches, match
from layerscope.records import Account
from layerscope.records.provenance import (
    NO_SITE,
    CallSite,
    CapturedLaunches,
    CompiledGraph,
    LayerWeight,
    Provenance,
    load_provenance,
    save_provenance,
)
from layerscope.trace.columns import read_trace

# A block: a matmul, a kernel fused over two layers, a matmul.
SITES = (
    CallSite("extern_kernels.addmm", "exact", (LayerWeight("fc1", 1),), "mm"),
    CallSite("triton_poi_fused_relu_add_0", "fused", (LayerWeight("act", 3), LayerWeight("", 1))),
    CallSite("extern_kernels.mm", "exact", (LayerWeight("fc2", 1),), "mm"),
)
BLOCK = CompiledGraph(7, SITES)
FQNS = ("", "block", "block.fc1", "block.act", "block.fc2")


def known(*captures: CapturedLaunches) -> Provenance:
    return Provenance(torch="2.13.0", graphs=(BLOCK,), captures=captures)


def call_of_block(trace: TraceWriter, at: int, *, device: bool, frame: str = "block") -> None:
    """One call, 1,000 ns: addmm 100 ns, a copy of the wrapper's, fused 50 ns, mm 200 ns."""
    trace.op(f"compiled:7:{frame}", at, 1000)
    trace._add("## Call CompiledFxGraph abc ##", "user_annotation", at + 10, 900, 100, 1)
    trace.op("aten::addmm", at + 20, 100)
    trace.op("aten::copy_", at + 130, 10)
    trace.op("triton_poi_fused_relu_add_0", at + 150, 50)
    trace.op("aten::mm", at + 250, 200)
    if device:
        for number, (start, name, dur) in enumerate(
            [
                (25, "gemm_a", 1000), (132, "copy", 7), (160, "triton_poi_fused_relu_add_0", 11),
                (260, "gemm_b", 500), (270, "splitk_reduce", 30), (700, "wrapper", 5),
            ]
        ):  # fmt: skip
            correlation = at + number
            trace.launch(correlation, at + start, driver=name.startswith("triton"))
            trace.kernel(correlation, at + 10_000 + 2000 * number, dur, name=name)


def accounted(trace: TraceWriter, path: Path, provenance: Provenance | None) -> Account:
    columns = read_trace(trace.write(path / "t.json"))
    found = account(work_out(columns, provenance=provenance, fqns=FQNS), source="t")
    found.table.check()
    return found


def test_an_exact_site_is_its_layers_and_a_fused_one_is_split(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 3000)
    trace.layer("block", 100, 1500)
    call_of_block(trace, 200, device=True)
    rows = {row.layer: row for row in accounted(trace, tmp_path, known()).table.rows}
    assert {name: row.gpu_self_ns for name, row in rows.items()} == {
        "forward": 0,
        # A quarter of 11 is 2.75: 3, so that 8 + 3 = 11; and the copy and the wrapper's own kernel.
        "block": 3 + 7 + 5,
        "block.fc1": 1000,
        "block.act": 8,
        "block.fc2": 500 + 30,
    }
    assert {name: row.kernels for name, row in rows.items()} == {
        "forward": 0, "block": 2, "block.fc1": 1, "block.act": 1, "block.fc2": 2,
    }  # fmt: skip
    assert {name: row.modelled_ns for name, row in rows.items()} == {
        "forward": 0, "block": 3, "block.fc1": 0, "block.act": 8, "block.fc2": 0,
    }  # fmt: skip
    assert rows["block"].attribution == "range+fused"
    assert (rows["block.fc1"].attribution, rows["block.act"].attribution) == ("exact", "fused")
    # Host: 100 to addmm, 38 of the fused 50 to act (37.5, the first of equals), 200 to mm.
    assert {name: row.cpu_self_ns for name, row in rows.items()} == {
        "forward": 1500, "block": 1500 - 100 - 38 - 200, "block.fc1": 100, "block.act": 38,
        "block.fc2": 200,
    }  # fmt: skip
    assert {name: row.calls for name, row in rows.items()} == {
        "forward": 1, "block": 1, "block.fc1": 1, "block.act": 1, "block.fc2": 1,
    }  # fmt: skip


def test_the_same_trace_without_provenance_is_one_row_for_the_part(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 3000)
    trace.layer("block", 100, 1500)
    call_of_block(trace, 200, device=True)
    rows = {row.layer: row for row in accounted(trace, tmp_path, None).table.rows}
    assert rows["block"].gpu_self_ns == 1000 + 7 + 11 + 500 + 30 + 5
    assert set(rows) == {"forward", "block"}
    assert rows["block"].attribution is None


def test_without_a_device_the_operators_time_is_dealt_out(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 3000)
    trace.layer("block", 100, 1500)
    call_of_block(trace, 200, device=False)
    found = accounted(trace, tmp_path, known())
    rows = {row.layer: row for row in found.table.rows}
    assert {name: row.op_self_ns for name, row in rows.items()} == {
        # Of the fused 50 ns act has 37.5, the frame 12.5: the first of equals is rounded up.
        "forward": 0, "block": 10 + 12, "block.fc1": 100, "block.act": 38, "block.fc2": 200,
    }  # fmt: skip
    assert rows["block.act"].modelled_ns == 38
    operators = {(row.operator, row.layer): row.self_ns for row in found.operators}
    assert operators == {
        ("aten::addmm", "block.fc1"): 100, ("aten::copy_", "block"): 10,
        ("triton_poi_fused_relu_add_0", "block.act"): 50, ("aten::mm", "block.fc2"): 200,
    }  # fmt: skip


def test_one_graph_serves_many_frames(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 9000)
    call_of_block(trace, 200, device=True, frame="blocks.0")
    call_of_block(trace, 2200, device=True, frame="blocks.1")
    columns = read_trace(trace.write(tmp_path / "t.json"))
    table = account(work_out(columns, provenance=known()), source="t").table
    table.check()
    gpu = {row.layer: row.gpu_self_ns for row in table.rows if row.gpu_self_ns}
    assert gpu["blocks.0.fc1"] == gpu["blocks.1.fc1"] == 1000
    assert gpu["blocks.0.act"] == gpu["blocks.1.act"] == 8


def test_a_frame_that_nothing_tells_is_unknown_and_stays_with_the_part(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 3000)
    trace.layer("block", 100, 1500)
    call_of_block(trace, 200, device=True, frame="?")
    found = accounted(trace, tmp_path, known())
    rows = {row.layer: row for row in found.table.rows}
    assert set(rows) == {"forward", "block"}
    assert rows["block"].gpu_self_ns == 1000 + 7 + 11 + 500 + 30 + 5
    assert rows["block"].attribution == "range+unknown"
    assert any("holds no module of the model" in note for note in found.table.notes)


def without(trace: TraceWriter, name: str) -> None:
    trace.events = [event for event in trace.events if event["name"] != name]


def test_a_call_that_did_not_run_all_its_code_lists_is_unknown(tmp_path: Path) -> None:
    """One product less than listed: what ran may be either, so neither layer is named."""
    trace = TraceWriter()
    trace.layer("forward", 0, 3000)
    trace.layer("block", 100, 1500)
    call_of_block(trace, 200, device=True)
    without(trace, "aten::mm")
    found = accounted(trace, tmp_path, known())
    rows = {row.layer: row for row in found.table.rows}
    assert "block.fc1" not in rows
    assert rows["block"].attribution == "range+unknown"
    assert any("1 heavy operators of its code were not seen" in note for note in found.table.notes)


def test_a_call_that_ran_more_products_than_its_code_lists_is_unknown(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 3000)
    trace.layer("block", 100, 1500)
    call_of_block(trace, 200, device=True)
    trace.op("aten::mm", 700, 20)
    found = accounted(trace, tmp_path, known())
    assert {row.layer for row in found.table.rows} == {"forward", "block"}
    assert any("other heavy operators ran" in note for note in found.table.notes)


def test_a_graph_that_says_its_problem_is_one_row_and_the_problem_in_words(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 3000)
    trace.layer("block", 100, 1500)
    call_of_block(trace, 200, device=True)
    graph = replace(BLOCK, problem="of 2 heavy operators 1 not found in its kernels")
    found = accounted(trace, tmp_path, replace(known(), graphs=(graph,)))
    assert {row.layer for row in found.table.rows} == {"forward", "block"}
    assert any("1 not found in its kernels; 1 calls" in note for note in found.table.notes)


def test_a_module_of_two_names_counts_under_its_first(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 3000)
    trace.layer("block", 100, 1500)
    call_of_block(trace, 200, device=True)
    aliased = replace(known(), aliases={"block.fc1": "first"})
    columns = read_trace(trace.write(tmp_path / "t.json"))
    table = account(work_out(columns, provenance=aliased, fqns=(*FQNS, "first")), source="t").table
    assert {row.layer: row.gpu_self_ns for row in table.rows}["first"] == 1000


def test_a_layer_the_model_does_not_list_counts_in_the_one_above(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 3000)
    trace.layer("block", 100, 1500)
    call_of_block(trace, 200, device=True)
    columns = read_trace(trace.write(tmp_path / "t.json"))
    table = account(work_out(columns, provenance=known(), fqns=("", "block")), source="t").table
    table.check()
    assert {row.layer for row in table.rows} == {"forward", "block"}


# ---- CUDA graphs --------------------------------------------------------------------------------


def replay(trace: TraceWriter, at: int, names: list[str], *, node_ids: bool = False) -> None:
    """A call that copies one input and replays a graph; kernel number i takes 100 + i ns."""
    trace.op("compiled:7:block", at, 1000)
    trace._add("## Call CompiledFxGraph abc ##", "user_annotation", at + 10, 900, 100, 1)
    trace.launch(at, at + 20, name="cudaMemcpyAsync")
    trace.kernel(at, at + 5_000, 9, name="Memcpy DtoD", cat="gpu_memcpy")
    trace.launch(at + 1, at + 50, name="cudaGraphLaunch")
    order = list(enumerate(names))
    for place, (number, name) in enumerate(reversed(order) if node_ids else order):
        ids = {"graph node id": 40 + number} if node_ids else {}
        trace.kernel(at + 1, at + 6_000 + 200 * place, 100 + number, name=name, **ids)


CAPTURE = CapturedLaunches(7, (0, 1, NO_SITE, 2))
REPLAYED = ["gemm_a", "triton_poi_fused_relu_add_0", "fill", "gemm_b"]


@pytest.mark.parametrize("node_ids", [False, True])
def test_a_replay_is_named_by_its_capture(tmp_path: Path, node_ids: bool) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 9000)
    trace.layer("block", 100, 1500)
    replay(trace, 200, REPLAYED, node_ids=node_ids)
    rows = {row.layer: row for row in accounted(trace, tmp_path, known(CAPTURE)).table.rows}
    assert {name: row.gpu_self_ns for name, row in rows.items()} == {
        "forward": 0,
        # A quarter of 101 is 25.25; the graph's own fill of 102 stays with the part.
        "block": 25 + 102, "block.fc1": 100, "block.act": 76, "block.fc2": 103,
        "(graph prologue)": 9,
    }  # fmt: skip
    # A library's kernel without the number of its node is known by its place alone.
    assert rows["block.fc1"].attribution == ("graph" if node_ids else "graph~")
    assert rows["block.act"].attribution == "fused+graph"
    assert rows["block"].attribution == "range+fused+graph"
    assert rows["block.fc1"].calls == 1
    assert rows["(graph prologue)"].phase == "forward"


def test_one_call_may_launch_several_graphs(tmp_path: Path) -> None:
    """Partitions: two launches share one reference sequence, in order."""
    trace = TraceWriter()
    trace.layer("forward", 0, 9000)
    trace.layer("block", 100, 1500)
    trace.op("compiled:7:block", 200, 1000)
    trace.launch(1, 300, name="cudaGraphLaunch")
    trace.launch(2, 400, name="cudaGraphLaunch")
    # The second graph's first kernel starts, on another stream, before the first graph's last.
    trace.kernel(1, 5000, 10, name="gemm_a")
    trace.kernel(2, 5050, 30, name="gemm_b")
    trace.kernel(1, 5100, 20, name="triton_poi_fused_relu_add_0")
    provenance = known(CapturedLaunches(7, (0, 1, 2)))
    rows = {row.layer: row for row in accounted(trace, tmp_path, provenance).table.rows}
    assert (rows["block.fc1"].gpu_self_ns, rows["block.act"].gpu_self_ns) == (10, 15)
    assert rows["block.fc2"].gpu_self_ns == 30


def test_what_only_aligns_says_so_and_the_rest_is_named(tmp_path: Path) -> None:
    """A replay with one kernel more than was captured: the generated kernel is the anchor."""
    trace = TraceWriter()
    trace.layer("forward", 0, 9000)
    trace.layer("block", 100, 1500)
    replay(trace, 200, ["gemm_a", "triton_poi_fused_relu_add_0", "fill", "gemm_b", "unheard_of"])
    rows = {row.layer: row for row in accounted(trace, tmp_path, known(CAPTURE)).table.rows}
    assert rows["block.fc1"].attribution == "graph~"
    assert rows["(graph unmatched)"].gpu_self_ns == 104


def test_a_generated_kernel_of_another_name_is_never_taken_for_it() -> None:
    names = ["gemm_a", "triton_red_fused_norm_9", "fill", "gemm_b"]
    found = match(BLOCK, CAPTURE.sites, names)
    assert found[1] is None
    assert all(item is None or not item.sure for item in found)


def test_without_a_reference_a_replay_is_a_bucket(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 9000)
    trace.layer("block", 100, 1500)
    replay(trace, 200, REPLAYED)
    rows = {row.layer: row for row in accounted(trace, tmp_path, known()).table.rows}
    assert rows["(graph unmatched)"].gpu_self_ns == 100 + 101 + 102 + 103


def test_a_capture_is_read_from_launches_that_left_no_event(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 9000)
    trace.op("compiled:7:block", 200, 1000)
    trace._add("## Call CompiledFxGraph abc ##", "user_annotation", 210, 900, 100, 1)
    trace.op("CUDAGraphNode.record (dynamo_timed)", 215, 500)  # torch's, around what it captures
    trace.op("aten::addmm", 220, 100)
    trace.launch(1, 230)
    trace.launch(2, 240, name="cudaStreamIsCapturing")  # has an id, makes no node
    trace.op("triton_poi_fused_relu_add_0", 350, 50)
    trace.launch(3, 360, driver=True)
    trace.launch(4, 410, name="cudaMemsetAsync")  # the wrapper's own
    trace.op("aten::mm", 450, 200)
    trace.launch(5, 460)
    trace.launch(5, 461, driver=True)  # the driver call inside the runtime call
    trace.launch(6, 600)  # ran at once: no part of the capture
    trace.kernel(6, 5000, 10)
    columns = read_trace(trace.write(tmp_path / "t.json"))
    workings = work_out(columns, provenance=known())
    assert workings.compiled is not None
    assert captured_launches(columns, workings.tree, workings.compiled) == (CAPTURE,)


def test_a_call_that_captures_and_replays_at_once_is_a_capture_in_full(tmp_path: Path) -> None:
    """Two products of one name: the order of the host's calls tells them apart."""
    graph = CompiledGraph(
        7, (SITES[2], SITES[1], replace(SITES[2], layers=(LayerWeight("fc1", 1),)))
    )
    trace = TraceWriter()
    trace.layer("forward", 0, 9000)
    trace.op("compiled:7:block", 200, 1000)
    for number, name in enumerate(("aten::mm", "triton_poi_fused_relu_add_0", "aten::mm")):
        trace.op(name, 300 + 100 * number, 50)
        trace.launch(10 + number, 310 + 100 * number)
    trace.launch(20, 700, name="cudaGraphLaunch")
    for number, name in enumerate(("gemm_b", "triton_poi_fused_relu_add_0", "gemm_a")):
        trace.kernel(20, 5000 + 200 * number, 100 + number, name=name)
    columns = read_trace(trace.write(tmp_path / "t.json"))
    workings = work_out(columns, provenance=replace(known(), graphs=(graph,)))
    assert workings.compiled is not None
    assert captured_launches(columns, workings.tree, workings.compiled) == (
        CapturedLaunches(7, (0, 1, 2)),
    )


def test_a_shorter_capture_of_the_same_graph_does_not_replace_it(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 90_000)
    for call, launches in enumerate((3, 1)):
        at = 200 + 2000 * call
        trace.op("compiled:7:block", at, 1000)
        for number, name in enumerate(["aten::addmm", "triton_poi_fused_relu_add_0", "aten::mm"]):
            trace.op(name, at + 100 + 100 * number, 50)
            if number < launches:
                trace.launch(10 * call + number, at + 110 + 100 * number)
    columns = read_trace(trace.write(tmp_path / "t.json"))
    workings = work_out(columns, provenance=known())
    assert workings.compiled is not None
    assert captured_launches(columns, workings.tree, workings.compiled) == (
        CapturedLaunches(7, (0, 1, 2)),
    )


@pytest.mark.parametrize(
    ("site", "event"),
    [
        ("extern_kernels.mm", "aten::mm"), ("extern_kernels.bmm_dtype", "aten::bmm"),
        ("extern_kernels.bias_addmm", "aten::addmm"),
        ("extern_kernels._mm_plus_mm", "inductor::_mm_plus_mm"),
        ("torch.ops.mkldnn._linear_pointwise.default", "mkldnn::_linear_pointwise"),
        ("aten.mm.out", "aten::mm"), ("triton_tem_fused_mm_0", "triton_tem_fused_mm_0"),
    ],
)  # fmt: skip
def test_how_a_site_shows_in_a_trace(site: str, event: str) -> None:
    assert event_name(site) == event


@pytest.mark.parametrize("size", [0, 1, 4])
def test_matching_itself_is_certain_where_its_nodes_are_numbered(size: int) -> None:
    sequence = CAPTURE.sites[:size]
    found = match(BLOCK, sequence, REPLAYED[:size], Proof(numbered=True))
    assert found == [Matched(site, sure=True) for site in sequence]


@pytest.mark.parametrize("in_line", [True, False])
def test_only_generated_names_prove_an_order_in_time(in_line: bool) -> None:
    found = match(BLOCK, CAPTURE.sites, REPLAYED, Proof(in_line=in_line))
    assert [item is not None and item.sure for item in found] == [False, True, False, False]


def test_equal_names_on_several_streams_may_have_changed_places() -> None:
    graph = CompiledGraph(7, (SITES[1], replace(SITES[1], layers=(LayerWeight("fc2", 1),))))
    names = ["triton_poi_fused_relu_add_0"] * 2
    for in_line in (True, False):
        found = match(graph, (0, 1), names, Proof(in_line=in_line))
        assert [item is not None and item.sure for item in found] == [in_line] * 2


def test_a_replay_of_which_one_number_is_missing_is_ordered_by_time(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 9000)
    trace.layer("block", 100, 1500)
    replay(trace, 200, REPLAYED, node_ids=True)
    kernels = [event for event in trace.events if event["args"].get("graph node id")]
    del kernels[0]["args"]["graph node id"]
    rows = {row.layer: row for row in accounted(trace, tmp_path, known(CAPTURE)).table.rows}
    # By time they run backwards: only the generated kernel, in the middle, agrees with its place.
    assert "graph" not in {row.attribution for row in rows.values()}


def test_what_runs_on_the_host_beside_a_replay_is_not_what_the_replay_runs(tmp_path: Path) -> None:
    """Two products of one name, the first in the graph: the one on the host is the second."""
    trace = TraceWriter()
    trace.layer("forward", 0, 9000)
    trace.layer("block", 100, 1500)
    graph = CompiledGraph(
        7, (SITES[2], SITES[1], replace(SITES[2], layers=(LayerWeight("fc1", 1),)))
    )
    trace.op("compiled:7:block", 200, 1000)
    trace.launch(1, 300, name="cudaGraphLaunch")
    trace.kernel(1, 5000, 10, name="gemm_a")
    trace.kernel(1, 5100, 20, name="triton_poi_fused_relu_add_0")
    trace.op("aten::mm", 500, 100)
    trace.launch(2, 550)
    trace.kernel(2, 6000, 40, name="gemm_b")
    for captures, fc1 in (((CapturedLaunches(7, (0, 1)),), 40), ((), 0)):
        provenance = replace(known(*captures), graphs=(graph,))
        found = accounted(trace, tmp_path, provenance)
        gpu = {row.layer: row.gpu_self_ns for row in found.table.rows}
        assert gpu.get("block.fc1", 0) == fc1  # unknown, where no capture tells


def test_provenance_survives_its_file(tmp_path: Path) -> None:
    assert load_provenance(tmp_path) is None
    save_provenance(known(CAPTURE), tmp_path)
    assert load_provenance(tmp_path) == known(CAPTURE)


def test_a_trace_with_replays_and_no_provenance_says_what_it_lacks(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 9000)
    replay(trace, 200, REPLAYED)
    found = accounted(trace, tmp_path, None)
    (note,) = [note for note in found.table.notes if "CUDA graphs" in note]
    assert note.startswith("4 device events were replayed")
    assert Counter(row.layer for row in found.table.rows) == {"forward": 1}
