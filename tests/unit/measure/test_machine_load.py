"""What else runs: /proc/stat written by hand, NVML faked, and the wait for quiet."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from layerscope.measure import machine_load
from layerscope.measure.last_cache import last_cache_bytes
from layerscope.measure.machine_load import Load, cpu_load, gpu_load, wait_for_quiet

sys.path.insert(0, str(Path(__file__).parent))

import fake_nvml


def stat(*cores: str) -> str:
    return "cpu  9 9 9 9\n" + "\n".join(f"cpu{i} {c}" for i, c in enumerate(cores)) + "\nintr 5\n"


@pytest.mark.parametrize(
    ("after", "quiet", "words"),
    [
        (("10 0 0 120 0 0 0 0 0 0", "5 0 0 120 0 0 0 0 0 0"), True, "takes 0.0 of 2 cores"),
        # 20 ticks in 0.2 s are one core: user time on core 0, or taken from core 1 by the hypervisor.
        (("30 0 0 100 0 0 0 0 0 0", "5 0 0 120 0 0 0 0 0 0"), False, "takes 1.0 of 2 cores"),
        (("10 0 0 120 0 0 0 0 0 0", "5 0 0 100 0 0 0 20 0 0"), False, "takes 1.0 of 2 cores"),
        # Waiting for a disk is idle.
        (("10 0 0 100 20 0 0 0 0 0", "5 0 0 120 0 0 0 0 0 0"), True, "takes 0.0 of 2 cores"),
    ],
)
def test_other_work_on_the_cores_in_use(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: tuple[str, str],
    quiet: bool,
    words: str,
) -> None:
    path = tmp_path / "stat"
    path.write_text(stat("10 0 0 100 0 0 0 0 0 0", "5 0 0 100 0 0 0 0 0 0"))
    monkeypatch.setattr(machine_load, "_cores", lambda: frozenset({0, 1}))
    monkeypatch.setattr(machine_load.os, "sysconf", lambda name: 100)
    times = iter([0.0, 0.2])
    monkeypatch.setattr(machine_load.time, "monotonic", lambda: next(times))
    monkeypatch.setattr(machine_load.time, "process_time", lambda: 0.0)
    seen = cpu_load(path, sleep=lambda s: path.write_text(stat(*after)) and None)
    assert seen.quiet is quiet
    assert words in seen.text


def test_a_load_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    seen = cpu_load(tmp_path / "none", sleep=lambda s: None)
    assert seen.quiet is None
    assert "not known" in seen.text
    (tmp_path / "zeros").write_text(stat("0 0 0 0 0 0 0 0"))
    assert cpu_load(tmp_path / "zeros", sleep=lambda s: None).quiet is None


def test_waiting_for_quiet_is_bounded_and_ends_early() -> None:
    looks = iter([Load(False, "busy"), Load(False, "busy"), Load(True, "quiet")])
    assert wait_for_quiet(lambda: next(looks), sleep=lambda s: None).quiet
    slept: list[float] = []
    seen = wait_for_quiet(lambda: Load(False, "busy: x"), sleep=slept.append)
    assert seen == Load(False, "busy: x, also after 3 s of waiting")
    assert sum(slept) == machine_load.WAIT_S


@pytest.mark.parametrize(("share", "quiet"), [(0, True), (5, True), (40, False)])
def test_other_work_on_a_gpu(monkeypatch: pytest.MonkeyPatch, share: int, quiet: bool) -> None:
    class Rates:
        gpu = share

    monkeypatch.setattr(fake_nvml, "nvmlDeviceGetUtilizationRates", lambda h: Rates, raising=False)
    seen = gpu_load("aaaa-0", "fake_nvml")
    assert seen.quiet is quiet
    assert f"{share}%" in seen.text


def test_a_gpu_that_does_not_say_its_load() -> None:
    assert gpu_load("GPU-none", "fake_nvml").quiet is None
    assert "not installed" in gpu_load("GPU-aaaa-0", "no_such_library").text


def test_the_last_cache_of_a_cpu(tmp_path: Path) -> None:
    import torch

    for index, size in enumerate(("32K", "2048K", "105M", "odd")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(f"{size}\n")
    assert last_cache_bytes(torch.device("cpu"), tmp_path) == 105 << 20
    assert last_cache_bytes(torch.device("cpu"), tmp_path / "none") is None
