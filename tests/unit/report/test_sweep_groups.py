"""The small table of a sweep: its parts sum to each cell's whole."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from support.sweep_rows import row

from layerscope.records import LayerTable
from layerscope.report.csv import write_layers_csv
from layerscope.report.sweep.groups import write_sweep_groups_csv


def test_every_cells_lines_sum_to_its_device_time(gpu_table: LayerTable, tmp_path: Path) -> None:
    (tmp_path / "cells" / "a").mkdir(parents=True)
    write_layers_csv(gpu_table, tmp_path / "cells" / "a" / "layers.csv")
    measured = replace(row({"batch_size": 1}), cell="a", folder="cells/a")
    untraced = replace(row({"batch_size": 2}), cell="b", folder="cells/b")
    failed = row({"batch_size": 4}, status="failed", reason="out of memory")
    write_sweep_groups_csv([measured, untraced, failed], tmp_path, tmp_path / "groups.csv")
    with (tmp_path / "groups.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["cell"] for line in lines} == {"a"}
    assert gpu_table.whole.device_sum_ns == 210_096_345
    assert sum(round(float(line["gpu_self_us"]) * 1000) for line in lines) == 210_096_345
    assert sum(int(line["kernels"]) for line in lines) == gpu_table.whole.device_events
    assert {line["flops_self"] for line in lines} == {""}  # not measured is not 0
    conv = next(line for line in lines if line["group"] == "vision.conv")
    assert (conv["phase"], conv["gpu_self_us"]) == ("vision", "253.056")
