"""Kinds and parameters in the rows of real runs and of models built here."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from support.shared import shared
from torch import nn

import layerscope
from layerscope.account.ranks import Rank, rank_sum
from layerscope.core.kinds import Layer, kinds_of
from layerscope.records.layer_table import params_once
from layerscope.runs.run import Run
from layerscope.workload.module_list import list_modules

ROOT = Path(__file__).resolve().parents[3]


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(self.up(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(8), Block(8), Block(8)])
        self.out = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.out(x)


def test_a_captured_model_by_hand(tmp_path: Path) -> None:
    net = Net()
    with layerscope.capture(net, tmp_path / "t.json") as captured, captured.phase("first"):
        net(torch.zeros(2, 8))
    rows = captured.account.table.rows
    kinds = {row.layer: row.layer_kind for row in rows}
    assert Counter(kinds.values())["blocks.*.up"] == 3
    assert (kinds["out.0"], kinds["out.1"], kinds["out.2"]) == ("out.0", "out.1", "out.2")
    # (8*16+16) + (16*8+8) = 280 a block; 8*8+8 = 72 and 8*4+4 = 36 behind them.
    assert sum(row.params or 0 for row in rows) == 3 * 280 + 72 + 36
    up = [row for row in rows if row.layer_kind == "blocks.*.up"]
    assert [row.params for row in up] == [144, 144, 144]


def test_shapes_are_recorded_and_a_tied_parameter_is_one_of_them() -> None:
    net = Net()
    net.out[0].weight = net.out[2].weight  # 4 x 8, counted where it is met first
    found = {module.fqn: module for module in list_modules(net)}
    assert found["blocks.0.up"].shapes == "16x8+16"
    assert found["blocks.0"].shapes == ""
    assert (found["out.2"].shapes, found["out.2"].params) == ("4x8+4", 4)


def test_a_record_without_shapes_tells_kinds_by_the_number_of_parameters() -> None:
    modules = Run.open(ROOT / "docs/results/h200/xl-b16-eager").written.model.modules  # type: ignore[union-attr]
    assert {module.shapes for module in modules} == {None}
    kinds = Counter(kinds_of(Layer(m.fqn, m.cls, m.alike) for m in modules if m.fqn).values())
    assert kinds["language_model.encoder.block.*.layer.1.DenseReluDense.wo"] == 24
    assert kinds["vision_model.encoder.layers.*.mlp.fc1"] == 39
    assert kinds["qformer.encoder.layer.*.crossattention"] == 6


@pytest.mark.parametrize("run", ["traces/sample-tiny-b2", "docs/results/h200/xl-b16-eager"])
def test_parameters_add_up_to_the_models(run: str) -> None:
    opened = Run.open(ROOT / run)
    assert opened.record is not None
    rows = opened.account.table.rows
    assert sum(row.params or 0 for row in rows) == opened.record.model.params
    of_decoder = [row for row in rows if row.layer.startswith("language_model.decoder.block.0.")]
    assert {row.phase for row in of_decoder if row.params} == {"prefill"}


def test_parameters_stand_where_the_layer_is_called() -> None:
    rows = Run.open(ROOT / "traces/sample-tiny-b2").account.table.rows
    again = params_once(rows)
    assert again == rows
    for row in rows:
        if row.params and not row.calls:
            assert not any(other.calls for other in rows if other.layer == row.layer)


def test_ranks_keep_kinds_and_the_parameters_that_each_holds() -> None:
    account = Run.open(ROOT / "traces/sample-tiny-b2").account
    summed = rank_sum([Rank("0", account), Rank("1", account)], "two").table
    mine = {(row.layer, row.phase): row for row in account.table.rows}
    for row in summed.rows:
        one = mine[row.layer, row.phase]
        assert (row.layer_kind, row.params, row.depth) == (one.layer_kind, one.params, one.depth)
        assert row.calls == 2 * one.calls
        assert row.cpu_total_ns == 2 * (one.cpu_total_ns or 0)
        assert row.bound == one.bound
        assert row.roofline_fraction is None


def test_a_trace_alone_has_kinds_by_the_names_of_its_layers() -> None:
    rows = Run.open(shared("traces/xl_b16_eager_h200.trace.json.gz")).account.table.rows
    wo = [
        r
        for r in rows
        if r.layer_kind == "language_model.encoder.block.*.layer.1.DenseReluDense.wo"
    ]
    assert len(wo) == 24
    assert round(sum(row.gpu_self_ns or 0 for row in wo) / 1e6, 1) == 39.8
    # A decoder's layer.0, .1 and .2 hold different layers: their norms stay apart.
    norms = {
        r.layer_kind for r in rows if r.layer.endswith("layer_norm") and "decoder.block" in r.layer
    }
    assert norms == {f"language_model.decoder.block.*.layer.{n}.layer_norm" for n in range(3)}
