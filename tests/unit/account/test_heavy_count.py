"""Heavy operators of eager and of compiled code, counted and compared."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kineto import TraceWriter

from layerscope.account.account import account_of, work_out
from layerscope.account.heavy_count import heavy_count
from layerscope.core.errors import AccountingError
from layerscope.records.heavy import HeavyCount, differences, heavy_kind
from layerscope.records.provenance import (
    CallSite,
    CapturedLaunches,
    CompiledGraph,
    LayerWeight,
    Provenance,
)
from layerscope.trace.columns import read_trace


def product(name: str, *layers: str) -> CallSite:
    parts = tuple(LayerWeight(layer, 1) for layer in layers)
    return CallSite(name, "exact" if len(layers) == 1 else "fused", parts, "mm", layers)


GRAPH = CompiledGraph(
    3, (product("extern_kernels.mm", "a"), product("triton_tem_fused_mm_plus_mm_0", "b", "c"))
)


def compiled_trace() -> TraceWriter:
    trace = TraceWriter()
    trace.layer("forward", 0, 9000)
    trace.layer("eager", 10, 90)
    trace.op("aten::linear", 20, 60)
    trace.op("aten::addmm", 30, 40)
    trace.op("compiled:3:block", 200, 1000)
    trace.op("aten::mm", 300, 100)
    trace.op("triton_tem_fused_mm_plus_mm_0", 500, 100)
    return trace


def counted(trace: TraceWriter, path: Path, *captures: CapturedLaunches) -> HeavyCount:
    columns = read_trace(trace.write(path / "t.json"))
    provenance = Provenance(torch="2.13.0", graphs=(GRAPH,), captures=captures)
    return heavy_count(work_out(columns, provenance=provenance))


def test_eager_operators_and_compiled_sites_count_once_each(tmp_path: Path) -> None:
    found = counted(compiled_trace(), tmp_path)
    assert found.known == Counter(
        {("mm", "eager"): 1, ("mm", "block.a"): 1, ("mm", "block.b"): 1, ("mm", "block.c"): 1}
    )
    assert not found.unknown


def test_replayed_sites_count_once_a_call_however_many_kernels(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 9000)
    trace.op("compiled:3:block", 200, 1000)
    trace.launch(1, 300, name="cudaGraphLaunch")
    for number, name in enumerate(("gemm", "splitk", "triton_tem_fused_mm_plus_mm_0")):
        trace.kernel(1, 5000 + 200 * number, 100, name=name)
    found = counted(trace, tmp_path, CapturedLaunches(3, (0, 0, 1)))
    assert found.known == Counter({("mm", f"block.{layer}"): 1 for layer in "abc"})


def test_what_is_not_known_is_counted_as_such(tmp_path: Path) -> None:
    trace = compiled_trace()
    trace.op("aten::bmm", 700, 100)  # the code lists none
    found = counted(trace, tmp_path)
    assert found.known == Counter({("mm", "eager"): 1})
    assert found.unknown == Counter({"mm": 2, "bmm": 1})


EAGER = Counter({("mm", "a"): 2, ("bmm", "a"): 2, ("mm", "b"): 1})


@pytest.mark.parametrize(
    ("known", "unknown", "told"),
    [
        (EAGER, {}, []),
        ({("mm", "a"): 2, ("sdpa", "a"): 1, ("mm", "b"): 1}, {}, []),
        ({("mm", "a"): 1, ("sdpa", "a"): 1, ("mm", "b"): 1}, {"mm": 1}, []),
        (
            {("mm", "a"): 3, ("sdpa", "a"): 1},
            {},
            [
                "a: 1 mm more in compiled code than eagerly",
                "b: 1 mm fewer in compiled code than eagerly",
            ],
        ),
        # One too many stays one too many, whatever is unknown.
        (
            {("mm", "a"): 3, ("sdpa", "a"): 1},
            {"mm": 5},
            ["a: 1 mm more in compiled code than eagerly"],
        ),
    ],
)
def test_differences(
    known: dict[tuple[str, str], int], unknown: dict[str, int], told: list[str]
) -> None:
    assert differences(EAGER, HeavyCount(Counter(known), Counter(unknown))) == told


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["mm", "bmm"]), st.sampled_from("abc")), st.integers(1, 9)
    )
)
def test_any_exchange_between_two_layers_is_told(count: dict[tuple[str, str], int]) -> None:
    eager = Counter(count) + Counter({("mm", "a"): 1})
    moved = eager.copy()
    moved["mm", "a"] -= 1
    moved["mm", "d"] += 1
    assert differences(eager, HeavyCount(eager)) == []
    assert any(line.startswith("d: 1 mm more") for line in differences(eager, HeavyCount(moved)))


def test_many_differences_are_cut_with_their_number() -> None:
    eager = Counter({("mm", f"l{i}"): 1 for i in range(9)})
    told = differences(eager, HeavyCount())
    assert len(told) == 7
    assert told[-1] == "and 3 more like these"


def test_a_capture_checks_against_its_eager_count(tmp_path: Path) -> None:
    path = compiled_trace().write(tmp_path / "t.json")
    provenance = Provenance(torch="2.13.0", graphs=(GRAPH,))
    found = account_of(path, provenance=provenance)
    found.table.check()
    assert any("no eager count" in note for note in found.table.notes)
    assert found.heavy is not None
    account_of(path, provenance=provenance, eager=found.heavy).table.check()
    crossed = replace(
        GRAPH,
        sites=(
            product("extern_kernels.mm", "b"),
            product("triton_tem_fused_mm_plus_mm_0", "b", "c"),
        ),
    )
    wrong = account_of(path, provenance=replace(provenance, graphs=(crossed,)), eager=found.heavy)
    with pytest.raises(AccountingError, match=r"block\.b: 1 mm more in compiled code"):
        wrong.table.check()


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::addmm", "mm"), ("aten::bmm", "bmm"), ("bmm.dtype", "bmm"), ("aten::_scaled_mm", "mm"),
        ("aten::_grouped_mm", "mm"), ("mkldnn::_linear_pointwise", "mm"), ("aten::linear", ""),
        ("aten::_scaled_dot_product_efficient_attention", "sdpa"), ("aten::matmul", ""),
        ("aten::_scaled_dot_product_attention_math", ""), ("mine::mm", ""),
        ("aten::scaled_dot_product_attention", ""), ("aten::convolution", "convolution"),
        ("aten::_scaled_dot_product_flash_attention_backward", ""),
    ],
)  # fmt: skip
def test_kinds(operator: str, kind: str) -> None:
    assert heavy_kind(operator) == kind
