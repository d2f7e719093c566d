"""`layerscope ceilings`, from the command line to the file, with rates by script instead of seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from layerscope.cli.ceilings import command
from layerscope.core.errors import EnvironmentProblem, UsageError
from layerscope.measure import ceilings
from layerscope.measure.ceilings_bench import NotMeasured, Reading
from layerscope.measure.machine_load import Load

TRUE = {"float16": 4e11, "bfloat16": 2e12, "float32": 3e11, "copy": 2e10}


class Scripted:
    method = "by script"

    def __init__(self) -> None:
        self.rounds = 0

    def round(self, rate: str) -> Reading:
        if rate not in TRUE:
            raise NotMeasured("a CPU has no TF32")
        self.rounds += 1
        return Reading(TRUE[rate], "8x8x8", 3)

    def glance(self, rate: str) -> tuple[float, float]:
        return 0.7 * TRUE[rate], 4 * TRUE[rate]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Scripted:
    scripted = Scripted()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(ceilings, "bench_for", lambda device: scripted)
    monkeypatch.setattr(ceilings, "load_of", lambda device: lambda: Load(True, "quiet: nothing"))
    return scripted


def shown(*arguments: str) -> str:
    done = CliRunner().invoke(command, ["--device", "cpu", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_measured_once_then_shown_with_its_date(bench: Scripted, tmp_path: Path) -> None:
    first = shown()
    assert "float32   0.300 TFLOP/s" in first
    assert "a CPU has no TF32" in first
    assert "measured now, 2" in first
    assert "quiet: nothing" in first
    rounds = bench.rounds
    again = shown()
    assert "cached, of 2" in again
    assert bench.rounds == rounds
    assert str(tmp_path) in again
    shown("--remeasure")
    assert bench.rounds == 2 * rounds


def test_a_poisoned_file_is_replaced_with_one_line(bench: Scripted, tmp_path: Path) -> None:
    shown()
    path = tmp_path / "layerscope" / "ceilings.json"
    held = json.loads(path.read_text())
    (entry,) = held.values()
    entry["matmul_flops_per_s"]["float32"] = 1.4e9
    path.write_text(json.dumps(held))
    text = shown()
    (line,) = [one for one in text.splitlines() if "replaced" in one]
    assert "float32: 0.00140 TFLOP/s kept, 0.210 TFLOP/s at a glance" in line
    assert json.loads(shown("--json"))["matmul_flops_per_s"]["float32"] == 3e11


def test_the_export_is_the_json_that_is_printed(bench: Scripted, tmp_path: Path) -> None:
    shown()
    target = tmp_path / "mine.json"
    printed = shown("--json", "--export", str(target))
    assert target.read_text() == printed
    held = json.loads(printed)
    assert held["ceilings_version"] == 1
    assert held["scatter"]["float32"] == 0.0
    assert held["measurements"]["copy"] == 12
    assert held["copy_bytes_per_s"] == 2e10
    assert sorted(p.name for p in tmp_path.iterdir()) == ["layerscope", "mine.json"]


def test_an_export_without_a_folder_is_refused_before_measuring(
    bench: Scripted, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        shown("--export", str(tmp_path / "no" / "mine.json"))
    assert bench.rounds == 0


def test_a_device_that_is_not_there(bench: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentProblem, match="no CUDA device"):
        CliRunner().invoke(command, ["--device", "cuda"], catch_exceptions=False)
