"""Kernels that say their module themselves, in traces made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.kineto import TraceWriter

from layerscope.account.account import account, work_out
from layerscope.records import Account
from layerscope.trace.columns import read_trace
from layerscope.trace.layer_source import find_layers

FQNS = ("", "layers", "layers.0", "layers.0.wq", "layers.1", "layers.1.wq", "norm")


def replayed(*said: Any) -> TraceWriter:
    """One graph launch in the model; kernel number i takes 100 + i ns and says its module."""
    trace = TraceWriter()
    trace.layer("forward", 0, 9000)
    trace.launch(1, 300, name="cudaGraphLaunch")
    for number, module in enumerate(said):
        args = {} if module is None else {"module_fqn": module}
        trace.kernel(1, 5000 + 200 * number, 100 + number, name=f"k{number}", **args)
    return trace


def accounted(trace: TraceWriter, path: Path, fqns: tuple[str, ...] = FQNS) -> Account:
    columns = read_trace(trace.write(path / "t.json"))
    found = account(work_out(columns, find_layers(columns), fqns=fqns), source="t")
    found.table.check()
    return found


def gpu(found: Account) -> dict[str, int | None]:
    return {row.layer: row.gpu_self_ns for row in found.table.rows if row.gpu_self_ns}


def test_a_replayed_kernel_is_its_modules(tmp_path: Path) -> None:
    found = accounted(replayed("layers.0.wq", "layers.1.wq", "norm", None), tmp_path)
    assert gpu(found) == {"layers.0.wq": 100, "layers.1.wq": 101, "norm": 102, "forward": 103}
    rows = {row.layer: row for row in found.table.rows}
    assert rows["norm"].attribution == "graph"
    assert rows["layers"].gpu_total_ns == 201
    assert any("3 device events say their module" in note for note in found.table.notes)
    assert ("k1", "layers.1.wq") in {(row.kernel, row.layer) for row in found.kernels}


@pytest.mark.parametrize(
    ("said", "layer"),
    [
        ("L['self'].layers[0].wq", "layers.0.wq"),
        ("_orig_mod.layers.0.wq", "layers.0.wq"),
        ("model.layers.0.wq", "layers.0.wq"),  # the model is a part of what was captured
        ("0.wq", "layers.0.wq"),  # a part was captured by itself
        ("", "forward"),
        ("forward", "forward"),
        ("wq", "forward"),  # two layers end so: none of them is taken
        ("other.place", "forward"),
        (17, "forward"),
        ({"fqn": "norm"}, "forward"),
    ],
)
def test_names_are_matched_with_the_models_or_not_at_all(
    tmp_path: Path, said: Any, layer: str
) -> None:
    assert gpu(accounted(replayed(said), tmp_path)) == {layer: 100}


def test_a_kernel_of_several_modules_is_split_and_says_so(tmp_path: Path) -> None:
    found = accounted(replayed(["layers.0.wq", "norm"]), tmp_path)
    assert gpu(found) == {"layers.0.wq": 50, "norm": 50}
    rows = {row.layer: row for row in found.table.rows}
    assert rows["norm"].attribution == "fused+graph"
    assert rows["norm"].modelled_ns == 50


def test_a_range_around_a_plain_launch_says_as_much(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 9000)
    trace.layer("norm", 100, 1000)
    trace.launch(1, 300)
    trace.kernel(1, 5000, 100, module_fqn="layers.0.wq")
    assert gpu(accounted(trace, tmp_path)) == {"norm": 100}


def test_without_ranges_the_kernels_names_are_the_layers(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.op("aten::mm", 100, 500)
    trace.launch(1, 300)
    trace.kernel(1, 5000, 100, module_fqn="layers.0.wq")
    trace.kernel(None, 6000, 30, module_fqn="layers.1.wq")
    assert gpu(accounted(trace, tmp_path, fqns=())) == {"layers.0.wq": 100, "layers.1.wq": 30}
