"""Folding by hand, and that no nanosecond is lost in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layerscope.core.columns import COLUMNS
from layerscope.records import LayerRow
from layerscope.records.comparison import LayerChange, LayerComparison
from layerscope.records.tables import Account
from layerscope.report.compare import _layer_grid
from layerscope.report.console import render_account
from layerscope.report.kinds import kinds_in
from layerscope.report.layer_tree import tree_of
from layerscope.report.selection import Selection, select
from layerscope.runs.run import Run

XL = Path(__file__).resolve().parents[3] / "docs" / "results" / "h200" / "xl-b16-eager"


def row(layer: str, phase: str, kind: str, **values: Any) -> LayerRow:
    plain: dict[str, Any] = {
        "module": "Linear", "group": "decoder.ffn", "depth": 3, "calls": 1, "kernels": 2,
        "gpu_self_ns": 100, "gpu_total_ns": 100, "cpu_self_ns": 10, "cpu_total_ns": 10,
        "params": None,
    }  # fmt: skip
    return LayerRow(layer=layer, phase=phase, layer_kind=kind, **(plain | values))


def test_sums_and_what_members_agree_in_by_hand() -> None:
    rows = [
        row("b.0.f", "prefill", "b.*.f", params=72, flops_self=800, bytes_self=100, roofline_ns=20,
            roofline_fraction=0.2, dtype="float16", memory_peak_bytes=50, energy_j=0.5),
        row("b.1.f", "prefill", "b.*.f", params=72, flops_self=400, bytes_self=200, roofline_ns=30,
            roofline_fraction=0.3, dtype="float32", memory_peak_bytes=90, gpu_self_ns=200),
        row("b.0.f", "decode", "b.*.f", calls=3),
    ]  # fmt: skip
    folded, alone = kinds_in(rows)
    one = folded.row
    assert (folded.name, alone.name) == ("b.*.f ×2", "b.0.f")
    assert (one.layer, one.phase, one.module, one.calls, one.kernels) == (
        "b.*.f", "prefill", "Linear", 2, 4,
    )  # fmt: skip
    assert (one.gpu_self_ns, one.cpu_total_ns, one.params, one.flops_self) == (300, 20, 144, 1200)
    # 1200 FLOP over 300 B, over 300 ns; 50 of 300 ns at least.
    assert (one.intensity, one.tflops_per_s, one.gb_per_s) == (4.0, 0.004, 1.0)
    assert one.roofline_fraction == pytest.approx(50 / 300)
    assert (one.dtype, one.memory_peak_bytes) == (None, 90)
    assert one.energy_j is None  # one of the two was not measured
    assert alone.row is rows[2]


@pytest.mark.parametrize("run", [XL, XL.parents[3] / "traces" / "sample-tiny-b2"])
def test_kinds_and_the_tree_hold_every_nanosecond(run: Path) -> None:
    table = Run.open(run).account.table
    kinds = kinds_in(table.rows)
    assert len(kinds) < len(table.rows) / 2
    for column in COLUMNS:
        if column.adds and column.kind in ("integer", "time"):
            whole = sum(getattr(one, column.field) or 0 for one in table.rows)
            assert sum(getattr(kind.row, column.field) or 0 for kind in kinds) == whole
    for per_block in (False, True):
        tops = tree_of(table, table.rows, per_block=per_block)
        pending = list(tops)
        while pending:
            branch = pending.pop()
            assert branch.total_ns == branch.self_ns + sum(one.total_ns for one in branch.below)
            pending += branch.below
        times = table.whole.device_sum_ns or table.whole.host_window_ns
        assert sum(branch.total_ns for branch in tops) == times


def test_the_largest_kinds_of_the_xl_model() -> None:
    table = Run.open(XL).account.table
    folded = select(table, Selection(top=2))
    assert [kind.name for kind in folded.shown] == [
        "language_model.encoder.block.*.layer.1.DenseReluDense.wo ×24",
        "language_model.decoder.block.*.layer.2.DenseReluDense.wo ×24",
    ]
    alone = select(table, Selection(top=2, per_block=True))
    assert all("*" not in kind.name for kind in alone.shown)
    held = sum(k.row.gpu_self_ns or 0 for k in (*folded.shown, *folded.hidden))
    assert held == table.whole.device_sum_ns


def test_the_same_sum_stands_under_both_forms(
    gpu_account: Account, screen: Callable[..., Any]
) -> None:
    table = gpu_account.table
    blocks = [
        replace(one, layer=f"m.{n}", layer_kind="m.*", depth=1, gpu_self_ns=30, gpu_total_ns=30)
        for n, one in enumerate(3 * [table.rows[1]])
    ]
    account = replace(gpu_account, table=replace(table, rows=(*table.rows, *blocks)))
    shown = {}
    for per_block in (False, True):
        page = screen()
        render_account(account, page.console, Selection(per_block=per_block))
        shown[per_block] = page.text
    assert "m.* ×3 " in shown[False]
    assert "\nm.1 " not in shown[False]
    assert "\nm.1 " in shown[True]
    assert "m.*" not in shown[True]


def test_a_comparison_folds_its_changes() -> None:
    def change(layer: str, base: int | None, other: int | None) -> LayerChange:
        return LayerChange(
            layer=layer, phase="decode", module="Linear", group="decoder.ffn", base_ns=base,
            other_ns=other, base_calls=1, other_calls=1, layer_kind=re.sub("[01]", "*", layer),
        )  # fmt: skip

    rows = (
        change("top", 9_000_000, 4_000_000),
        change("b.0", 5_000_000, 2_000_000),
        change("b.1", None, 1_000_000),
        change("c.0", 2_000_000, 1_000_000), change("c.1", 1_000_000, 2_000_000),
    )  # fmt: skip
    compared = LayerComparison(
        measure="device", rows=rows, phases=(), base_whole_ns=17_000_000, other_whole_ns=10_000_000
    )
    grid = _layer_grid(compared, 2, per_block=False)
    assert grid.rows == (
        ("top", "decode", "Linear", "9.00", "4.00", "-5.00", ""),
        ("b.* ×2", "decode", "Linear", "5.00", "3.00", "-2.00", "1 appeared"),
    )
    assert grid.footer == ("1 more row", "", "", "", "", "0", "")
    alone = _layer_grid(compared, 9, per_block=True)
    assert [line[0] for line in alone.rows] == ["top", "b.0", "b.1", "c.0", "c.1"]
