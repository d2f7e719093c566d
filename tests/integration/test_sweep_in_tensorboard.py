"""A sweep of 200 cells in the real `tensorboard`: what its server pays before the tab shows it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
RUN = REPOSITORY / "docs" / "results" / "h200" / "xl-b16-eager"


def benchmark() -> ModuleType:
    path = REPOSITORY / "benchmarks" / "sweep_in_tensorboard.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.platform != "linux", reason="CPU time of processes is read from /proc")
def test_two_hundred_cells_open_in_under_three_seconds_of_server_cpu(tmp_path: Path) -> None:
    bench = benchmark()
    bench.make_sweep(tmp_path / "sweep", RUN, 200)
    found = bench.measure(tmp_path, settle=False)
    assert found["runs"] == 200
    assert found["bytes_of_tables"] > 200 * 500
    assert found["start_and_opening_s"] < 3.0
