"""A sweep of 200 cells in the real `tensorboard`: what its server pays before the tab shows it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from support.by_path import module_at

REPOSITORY = Path(__file__).resolve().parents[2]
RUN = REPOSITORY / "docs" / "results" / "h200" / "xl-b16-eager"


def benchmark() -> ModuleType:
    return module_at(REPOSITORY / "benchmarks" / "sweep_in_tensorboard.py")


@pytest.mark.skipif(sys.platform != "linux", reason="CPU time of processes is read from /proc")
def test_two_hundred_cells_open_in_under_three_seconds_of_server_cpu(tmp_path: Path) -> None:
    bench = benchmark()
    bench.make_sweep(tmp_path / "sweep", RUN, 200)
    found = bench.measure(tmp_path, settle=False)
    assert found["runs"] == 200
    assert found["bytes_of_tables"] > 200 * 500
    assert found["start_and_opening_s"] < 3.0
