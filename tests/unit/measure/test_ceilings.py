"""Ceilings: real matmuls under a faked clock, the cache file, and one real measurement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from layerscope.measure import ceilings
from layerscope.measure.ceilings import (
    MATMUL_SIDES,
    cache_file,
    ceilings_for,
    ceilings_key,
    measure_ceilings,
    median_ns,
)
from layerscope.measure.ceilings_cache import load_cached, store
from layerscope.measure.datasheets import datasheet_of
from layerscope.records.work import Ceilings

CPU = torch.device("cpu")


class FakeStopwatch:
    """Runs the work and says each run took as long as scripted; the last value repeats."""

    def __init__(self, *durations_ns: float) -> None:
        self._durations = list(durations_ns)
        self.runs = 0

    def time_ns(self, work: Callable[[], object]) -> float:
        work()
        self.runs += 1
        return self._durations[min(self.runs - 1, len(self._durations) - 1)]


def some(key: str = "device | driver 1 | torch 2") -> Ceilings:
    return Ceilings(
        key=key,
        device="device",
        measured_utc="2026-11-24T00:00:00Z",
        matmul_flops_per_s={"float16": 2e12},
        matmul_shape={"float16": "8x8x8"},
        copy_bytes_per_s=1e9,
        method="by hand",
    )


def test_rate_is_the_work_over_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "COPY_BYTES", {"cpu": 1000})
    monkeypatch.setitem(MATMUL_SIDES, "cpu", (8, 16))
    found = measure_ceilings(CPU, key="k", stopwatch=FakeStopwatch(1000.0))
    # Every call takes 1 us on this clock, so the larger shape is the faster one.
    rate = 2 * 16**3 / 1e-6
    assert found.matmul_flops_per_s["float32"] == pytest.approx(rate)
    assert found.matmul_shape["float32"] == "16x16x16"
    assert found.copy_bytes_per_s == pytest.approx(2 * 1000 / 1e-6)
    assert found.key == "k"
    assert "TF32" in found.absent["tf32"]
    assert "tf32" not in found.matmul_flops_per_s


def test_median_leaves_out_the_warm_ups() -> None:
    watch = FakeStopwatch(9e9, 50e6, 10.0, 30.0, 20.0)
    assert median_ns(lambda: None, watch) == 20.0
    assert watch.runs == 5  # two warm-ups; 120 ms hold two of the 50 ms, and three is the least


def test_a_shape_that_would_take_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "COPY_BYTES", {"cpu": 1000})
    monkeypatch.setitem(MATMUL_SIDES, "cpu", (4, 64))
    found = measure_ceilings(CPU, key="k", stopwatch=FakeStopwatch(100e6))
    assert set(found.matmul_shape.values()) == {"4x4x4"}


def test_precision_setting_is_put_back() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        ceilings._matmul_rate(CPU, "float32", FakeStopwatch(1e9))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_cache_round_trip_keeps_other_devices(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ceilings.json"
    assert load_cached(path, "a") is None
    store(path, some("a"))
    store(path, some("b"))
    assert load_cached(path, "a") == some("a")
    assert load_cached(path, "b") == some("b")
    assert load_cached(path, "c") is None
    assert list(path.parent.iterdir()) == [path]  # no temporary file left


def test_a_damaged_cache_is_measured_anew(tmp_path: Path) -> None:
    path = tmp_path / "ceilings.json"
    path.write_text("{not json")
    assert load_cached(path, "a") is None
    assert store(path, some("a")).notes == ()
    assert load_cached(path, "a") == some("a")


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    stored = store(tmp_path / "file" / "ceilings.json", some("a"))
    assert "not kept" in stored.notes[0]
    assert stored.matmul_flops_per_s == some("a").matmul_flops_per_s


def test_cache_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ceilings.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_file() == tmp_path / "layerscope" / "ceilings.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_file() == Path.home() / ".cache" / "layerscope" / "ceilings.json"
    monkeypatch.setattr(ceilings.sys, "platform", "darwin")
    assert "Library/Caches" in cache_file().as_posix()


def test_real_measurement_is_quick_plausible_and_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ceilings.json"
    monkeypatch.setitem(MATMUL_SIDES, "cpu", (128, 256))
    monkeypatch.setattr(ceilings, "COPY_BYTES", {"cpu": 1 << 24})
    found = ceilings_for(CPU, cache=path)
    assert found.key == ceilings_key(CPU, None)
    assert 1e8 < found.matmul_flops_per_s["float32"] < 1e14
    assert 1e8 < found.copy_bytes_per_s < 1e13
    assert "monotonic clock" in found.method
    assert ceilings_for(CPU, cache=path) == found  # the second time from the file, to the digit


def test_datasheet_of_known_and_unknown_devices() -> None:
    sheet = datasheet_of("NVIDIA H200")
    assert sheet is not None
    assert sheet.flops_per_s == {
        "float16": 989e12,
        "bfloat16": 989e12,
        "tf32": 494e12,
        "float32": 67e12,
    }
    assert sheet.bytes_per_s == 4.8e12
    assert datasheet_of("NVIDIA H200 NVL") is None
