"""The power time line: the trapezoid by hand, and the real process over a pretended NVML."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from layerscope.measure.energy.power_line import PowerLine, integrate_j
from layerscope.records.energy_record import PowerSample

FAKE = "unit.measure.fake_nvml"
TESTS = Path(__file__).resolve().parents[2]
ROOT = TESTS.parent


@pytest.fixture(autouse=True)
def child_can_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(TESTS)]))
    monkeypatch.setenv("FAKE_NVML_CHILD", "1")


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


def sample(time_s: float, power_w: float, device: str = "gpu 0") -> PowerSample:
    return PowerSample(time_ns=round(time_s * 1e9), device=device, power_w=power_w)


def test_trapezoid_by_hand() -> None:
    line = [sample(2, 300), sample(0, 100), sample(1, 200)]
    assert integrate_j(line, 0, 2_000_000_000) == pytest.approx(150 + 250)
    # From 0.5 s (150 W) to 1.5 s (250 W): 87.5 + 112.5.
    assert integrate_j(line, 500_000_000, 1_500_000_000) == pytest.approx(200)
    # Both ends between the same two samples: 0.2 s around 150 W.
    assert integrate_j(line, 400_000_000, 600_000_000) == pytest.approx(30)


def test_two_devices_add_up_and_can_be_told_apart() -> None:
    line = [sample(0, 100), sample(1, 100), sample(0, 50, "gpu 1"), sample(1, 70, "gpu 1")]
    assert integrate_j(line, 0, 1_000_000_000) == pytest.approx(160)
    assert integrate_j(line, 0, 1_000_000_000, "gpu 1") == pytest.approx(60)


def test_a_line_that_does_not_reach_gives_nothing() -> None:
    line = [sample(1, 100), sample(2, 100)]
    assert integrate_j(line, 0, 2_000_000_000) is None
    assert integrate_j(line, 1_000_000_000, 3_000_000_000) is None
    assert integrate_j([], 0, 1) is None
    assert integrate_j(line, 1_000_000_000, 2_000_000_000, "gpu 9") is None


def test_the_process_polls_every_device_and_ends() -> None:
    before_ns = time.monotonic_ns()
    with PowerLine(["aaaa-0", "bbbb-1"], period_s=0.02, library=FAKE) as line:
        pid = line.pid
        assert pid is not None
        assert alive(pid)
        start_ns = time.monotonic_ns()
        time.sleep(0.4)
        end_ns = time.monotonic_ns()
    assert line.absent is None
    assert not alive(pid)
    assert {s.device for s in line.samples} == {"gpu 0", "gpu 1"}
    assert all(before_ns < s.time_ns < time.monotonic_ns() for s in line.samples)
    assert line.samples[0].sm_clock_mhz == 1980
    assert line.samples[0].temperature_c == 47
    # 250 W and 100 W, constant: the integral is their sum times the time.
    energy_j = integrate_j(line.samples, start_ns, end_ns)
    assert energy_j == pytest.approx(350 * (end_ns - start_ns) / 1e9, rel=1e-6)


def test_an_error_in_the_block_ends_the_process() -> None:
    pids: list[int] = []

    def interrupted() -> None:
        with PowerLine(["aaaa-0"], period_s=0.02, library=FAKE) as line:
            assert line.pid is not None
            pids.append(line.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not alive(pids[0])


def test_a_process_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_NVML_HANG", "1")
    monkeypatch.setattr("layerscope.measure.energy.power_line._STOP_TIMEOUT_S", 0.3)
    with PowerLine(["aaaa-0"], period_s=0.02, library=FAKE) as line:
        pid = line.pid
        time.sleep(0.3)
    assert pid is not None
    assert not alive(pid)
    assert len(line.samples) >= 1


def test_the_process_dies_with_its_parent() -> None:
    script = (
        "import os, signal, time\n"
        "from layerscope.measure.energy.power_line import PowerLine\n"
        f"with PowerLine(['aaaa-0'], library={FAKE!r}) as line:\n"
        "    print(line.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    pid = int(done.stdout)
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)


def test_no_driver_and_no_such_device_are_absent_with_the_reason() -> None:
    with PowerLine(["cccc"], library=FAKE) as line:
        pass
    assert line.samples == ()
    assert line.absent is not None
    assert "nvidia-smi -L" in line.absent.reason
    with PowerLine(["aaaa-0"], library="no_such_nvml") as line:
        pass
    assert line.absent is not None
    assert "pip install" in line.absent.reason


def test_a_gpu_lost_while_polled_keeps_its_samples_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_NVML_LOST_AFTER_NS", str(time.monotonic_ns() + 2_000_000_000))
    with PowerLine(["aaaa-0"], period_s=0.02, library=FAKE) as line:
        time.sleep(2.5)
    assert line.samples
    assert line.absent is not None
    assert "GPU is lost" in line.absent.reason


def test_the_polling_process_imports_neither_torch_nor_transformers() -> None:
    script = (
        "import sys, layerscope.measure.energy.power_child, layerscope.measure.energy.energy_pass\n"
        "import layerscope.scores.wer, layerscope.stats.energy_summary\n"
        "print(sorted({'torch', 'transformers', 'jiwer'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
