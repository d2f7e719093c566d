"""Traces of torch.profiler itself, on the CPU, as a user who never met layerscope exports them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.command import layerscope
from torch.profiler import ProfilerActivity, profile, record_function

from layerscope.account.account import account_of


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(8, 16)
        self.second = torch.nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.second(torch.relu(self.first(x)))
        return out


def export(path: Path, *, stacks: bool = False, marked: bool = False) -> Path:
    model = torch.nn.Sequential(Block(), Block())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with profile(activities=[ProfilerActivity.CPU], with_stack=stacks) as profiler:
        for _ in range(2):
            if marked:
                with record_function("step"), record_function("forward pass"):
                    loss = model(torch.ones(4, 8)).sum()
            else:
                loss = model(torch.ones(4, 8)).sum()
            loss.backward()
            optimizer.step()
            profiler.step()
    profiler.export_chrome_trace(str(path))
    return path


def test_modules_of_the_python_tracer(tmp_path: Path) -> None:
    account = account_of(export(tmp_path / "t.json.gz", stacks=True))
    account.table.check()
    calls = {row.layer: row.calls for row in account.table.rows if row.calls}
    assert account.layer_source == "modules"
    # The tracer numbers instances of a class, so two blocks hold four linears, two calls of each.
    leaves = {name: n for name, n in calls.items() if name.rpartition(".")[2].startswith("Linear")}
    assert sorted(name.rpartition(".")[2] for name in leaves) == [f"Linear_{i}" for i in range(4)]
    assert {name.split(".")[1] for name in leaves} == {"Block_0", "Block_1"}
    assert set(leaves.values()) == {2}


def test_ranges_of_the_user(tmp_path: Path) -> None:
    account = account_of(export(tmp_path / "t.json", marked=True))
    account.table.check()
    calls = {row.layer: row.calls for row in account.table.rows if row.calls}
    assert account.layer_source == "annotations"
    assert calls == {"step": 2, "step.forward pass": 2}


def test_operators(tmp_path: Path) -> None:
    account = account_of(export(tmp_path / "t.json"))
    account.table.check()
    calls = {row.layer: row.calls for row in account.table.rows}
    assert account.layer_source == "operators"
    assert calls["aten::addmm"] == 8
    assert calls["aten::relu"] == 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"stacks": True}, "layers are the nn.Module events of the Python tracer"),
        ({}, "no layers in it: each operator name stands for one"),
    ],
)
def test_the_first_line_says_where_layers_come_from(
    tmp_path: Path, options: dict[str, bool], says: str
) -> None:
    trace, csv = export(tmp_path / "t.json.gz", **options), tmp_path / "layers.csv"
    done = layerscope("layers", trace, "--csv", csv)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"{trace}: no device events, host time only; {says}"
    assert "difference 0 ns" in done.stdout
    assert csv.read_text().startswith("phase,layer,")
