"""The GPU's bench on the CPU's memory: real products and copies under a faked clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from layerscope.measure import ceilings_gpu
from layerscope.measure.ceilings_bench import NoRoom, NotMeasured
from layerscope.measure.ceilings_gpu import CudaBench, shapes

CPU = torch.device("cpu")


class FakeStopwatch:
    """Runs the work and says that every run takes as long as scripted by `time_of(runs)`."""

    def __init__(self, time_of: Callable[[int], float]) -> None:
        self._time_of = time_of
        self.runs = 0

    def time_ns(self, work: Callable[[], object]) -> float:
        work()
        self.runs += 1
        return self._time_of(self.runs)


class Properties:
    major = 9
    multi_processor_count = 132


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 << 30, 1 << 30))
    monkeypatch.setattr(ceilings_gpu, "shapes", lambda sms: ((8, 8, 8), (8, 16, 8), (16, 8, 4)))
    monkeypatch.setattr(ceilings_gpu, "COPY_BYTES", 1 << 26)
    monkeypatch.setattr(ceilings_gpu, "PAUSE_S", 0.0)
    monkeypatch.setattr(ceilings_gpu, "LEAST_UNIT_NS", 1000)


def test_the_shapes_fill_every_multiprocessor_in_every_wave() -> None:
    for multiprocessors in (132, 108, 113, 1):
        for m, n, _ in shapes(multiprocessors)[-2:]:
            assert (m // 128) * (n // 256) == 4 * multiprocessors
            assert (m % 128, n % 256) == (0, 0)
    assert (4112, 1408, 6144) in shapes(132)  # the product that beat every square


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("rate", ["float16", "bfloat16", "tf32", "float32"])
def test_rate_is_the_work_over_the_clock(rate: str) -> None:
    before = torch.get_float32_matmul_precision()
    bench = CudaBench(CPU, FakeStopwatch(lambda runs: 1000.0))
    reading = bench.round(rate)
    # Every run takes 1 us on this clock, so the largest shape is the fastest: 2 x 8 x 16 x 8 FLOPs.
    assert reading.per_s == pytest.approx(2 * 8 * 16 * 8 / 1e-6)
    assert reading.shape.startswith("8x16x8")
    assert reading.count == 3 * 2 * ceilings_gpu.UNITS
    assert torch.get_float32_matmul_precision() == before
    assert bench.round(rate).count == ceilings_gpu.KEPT * ceilings_gpu.UNITS  # the best go on


@pytest.mark.usefixtures("small")
def test_short_work_is_repeated_within_one_timing() -> None:
    # 100 ns once: ten fill a unit of 1000 ns; the third unit takes 500, 50 a run.
    watch = FakeStopwatch(lambda runs: 100.0 if runs <= 2 else 500.0 if runs == 5 else 1000.0)
    calls = 0

    def work() -> None:
        nonlocal calls
        calls += 1

    best, count = CudaBench(CPU, watch)._fastest(work)
    assert best == 50.0
    assert count == ceilings_gpu.UNITS
    assert calls == 2 + 3 * 10


@pytest.mark.usefixtures("small")
def test_copy_counts_bytes_read_and_written() -> None:
    reading = CudaBench(CPU, FakeStopwatch(lambda runs: 1e6)).round("copy")
    assert reading.per_s == pytest.approx(2 * (1 << 26) / 1e-3)
    assert "64 MiB" in reading.shape


@pytest.mark.usefixtures("small")
def test_what_a_gpu_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Properties, "major", 7)
    with pytest.raises(NotMeasured, match="no TF32"):
        CudaBench(CPU).round("tf32")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1 << 20, 1 << 30))
    with pytest.raises(NotMeasured, match="1 MiB are free"):
        CudaBench(CPU).round("copy")

    def full(*_: object, **__: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory\nmore")

    monkeypatch.setattr(torch, "randn", full)
    with pytest.raises(NotMeasured, match=r"^out of memory$"):
        CudaBench(CPU).round("float16")
    with pytest.raises(NoRoom, match=r"^out of memory$"):
        CudaBench(CPU).glance("float16")


@pytest.mark.usefixtures("small")
def test_a_glance_gives_a_rate_and_a_limit() -> None:
    bench = CudaBench(CPU, FakeStopwatch(lambda runs: 1e6))
    reached, limit = bench.glance("copy")
    assert reached == pytest.approx(2 * (1 << 26) / 1e-3)
    assert limit == 3 * reached


@pytest.mark.usefixtures("small")
def test_products_that_would_take_too_long_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings_gpu, "shapes", lambda sms: ((8, 8, 8), (64, 64, 64)))
    reading = CudaBench(CPU, FakeStopwatch(lambda runs: 1e6)).round("float32")
    assert reading.shape == "8x8x8"  # 512 times the work would take 0.5 s
