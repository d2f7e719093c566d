"""What is outside fails in the middle of a run: the hub, the clock, the profiler, the energy counter."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from support.data_hub import serving
from support.hub_layouts import row, stored, write
from support.kineto import TraceWriter
from unit.measure import fake_nvml
from unit.measure.fake_energy import FakeMachine

from layerscope.account.account import account_of
from layerscope.config.resolve import resolve
from layerscope.core import run_name
from layerscope.core.errors import EnvironmentProblem
from layerscope.instrument import cupti, profiler
from layerscope.measure.energy import nvml
from layerscope.measure.energy.nvml import find_devices
from layerscope.passes import account, energy, meters, profile
from layerscope.passes.draft import Draft
from layerscope.records import load
from layerscope.report.progress import ProgressReporter
from layerscope.write.tables import account_record

SMALL: dict[str, Any] = {
    "model": "tiny", "device": "cpu", "batch_size": 1, "samples": 2, "warmup": 0, "image_size": 56,
    "max_new_tokens": 2, "measure_limit_s": 0.1, "dataset": "synthetic-textvqa",
}  # fmt: skip
QUIET = ProgressReporter(Console(), quiet=True)
# The hub's clients wait between their tries; nobody needs to sit through that here.
NO_WAITING = "import time; time.sleep = lambda s: None\nimport layerscope.cli.main as m; m.main()"


def noise(number: int) -> Image.Image:
    """A picture that does not shrink, so that the files are larger than one answer of the hub."""
    generator = torch.Generator().manual_seed(number)
    data = torch.randint(0, 256, (120, 120, 3), generator=generator, dtype=torch.uint8)
    return Image.frombytes("RGB", (120, 120), bytes(data.flatten().tolist()))


def test_a_data_stream_that_drops(tmp_path: Path) -> None:
    rows = [row("textvqa", i, image=stored(noise(i))) for i in range(24)]
    write("textvqa", rows, tmp_path / "set", files=3)
    out = tmp_path / "out"
    with serving("lmms-lab/textvqa", tmp_path / "set") as hub:
        hub.drop_after = 700_000
        done = subprocess.run(
            [
                sys.executable, "-c", NO_WAITING, "profile", "--model", "tiny", "--device", "cpu",
                "--dataset", "textvqa", "--samples", "20", "--batch", "1", "--warmup", "0",
                "--max-new-tokens", "1", "--image-size", "56", "--measure-limit-s", "0.1",
                "--no-trace", "--quiet", "--out", str(out),
            ],
            env={
                **os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"),
                "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )  # fmt: skip
        assert hub.sent > 500_000
    assert done.returncode == 3, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("layerscope: cannot read lmms-lab/textvqa from the Hugging Face hub")
    assert "--data-dir" in last
    assert "Traceback" not in done.stderr
    assert not out.exists()


class Jumping(datetime):
    """Wall time that is three days off, in another direction at each look."""

    looks = 0

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        cls.looks += 1
        return datetime.now(tz or UTC) + timedelta(days=3 if cls.looks % 2 else -3)


def test_a_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, looks = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() + (-(10**6) if next(looks) % 2 else 10**6))
    for module in (profile, run_name):
        monkeypatch.setattr(module, "datetime", Jumping)
    resolved = resolve({**SMALL, "out": str(tmp_path / "out")}, cuda=False)
    began = time.monotonic_ns()
    runs = [profile.profile(resolved, QUIET, print) for _ in range(2)]
    took = time.monotonic_ns() - began
    assert Jumping.looks
    for run in runs:
        record = load(run.folder)
        times = [sample.generate_ns for sample in (*record.latency, *record.first_token)]
        assert all(0 < value < took for value in times)
        assert sum(times) < took
        assert record.account is not None
        assert record.account.status == "ok"
        assert record.account.host_window_us is not None
        assert 0 < record.account.host_window_us * 1000 < took
    assert {p.name for p in (tmp_path / "out").iterdir()} == {run.folder.name for run in runs}


def test_a_profiler_that_is_not_let_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(**_: Any) -> Any:
        raise RuntimeError("CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED\nsome more")

    monkeypatch.setattr(profiler, "profile", busy)
    resolved = resolve({**SMALL, "out": str(tmp_path / "out")}, cuda=False)
    with pytest.raises(
        EnvironmentProblem, match=r"does not start.*CUPTI_ERROR.*--no-trace"
    ) as told:
        profile.profile(resolved, QUIET, print)
    assert told.value.exit_code == 3
    assert "\n" not in str(told.value)
    assert os.listdir(tmp_path) == []


def test_a_profiler_that_sees_no_device(tmp_path: Path) -> None:
    """As on CUDA with CUPTI taken: the trace of a run on a device holds the host's events alone."""
    writer = TraceWriter()
    writer.layer("generate", 0, 100)
    found = account_of(writer.write(tmp_path / "t.json"))
    assert account._unseen("cpu", found) == ()
    assert account._unseen("cuda", found) == (cupti.NO_DEVICE_EVENTS,)
    verdict = account_record(found, account._unseen("cuda", found))
    assert verdict.status == "failed"
    assert "layerscope doctor" in verdict.failures[-1]


class Failing:
    """NVML, lost from its n-th call on."""

    def __init__(self, machine: FakeMachine, at: int) -> None:
        self.calls, self._at, self._machine = 0, at, machine

    def __getattr__(self, name: str) -> Any:
        real = getattr(fake_nvml, name)
        if not name.startswith("nvml"):
            return real

        def call(*arguments: Any) -> Any:
            self.calls += 1
            if self.calls >= self._at:
                raise fake_nvml.NVMLError(fake_nvml.NVML_ERROR_GPU_IS_LOST)
            if name == "nvmlDeviceGetTotalEnergyConsumption":
                return self._machine.now_ns // 100_000_000 * 30_000  # 300 W, moves every 100 ms
            return real(*arguments)

        return call


def energy_of(at: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Failing]:
    """The energy pass of a run on CUDA over a library that is lost at its n-th call."""
    machine = FakeMachine()
    library = Failing(machine, at)

    class Generator:
        def __call__(self, inputs: Any) -> str:
            machine.sleep(0.7)
            return "tokens"

    batch: Any = SimpleNamespace(record=SimpleNamespace(index=0), samples=("one",))
    monkeypatch.setattr(meters, "device_uuids", lambda: ["GPU-aaaa-0"])
    monkeypatch.setattr(energy, "SystemClock", lambda: machine)
    monkeypatch.setattr(meters, "synchronize", lambda _: None)
    monkeypatch.setattr(nvml, "open_devices", lambda ids: find_devices(library, ids))
    session: Any = SimpleNamespace(
        config=SimpleNamespace(device="cuda", quick=False),
        generator=Generator(),
        progress=QUIET,
        inputs=lambda _: {},
    )
    timed: Any = SimpleNamespace(batch=batch, generated=SimpleNamespace(new_tokens=(4,)))
    draft = Draft(batches=(timed,), kept=(batch,))
    energy.energy(session, draft)
    return draft.energy, library


def test_nvml_that_is_lost_at_any_call(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, library = energy_of(10**9, monkeypatch)
    assert whole.reason is None
    assert len(whole.windows) == energy.MIN_WINDOWS
    calls = library.calls
    assert calls > 1000
    counted = 0
    for at in [*range(1, 40), *range(40, calls + 1, 211), calls]:
        record, _ = energy_of(at, monkeypatch)
        if record.reason is None:  # only what is optional failed: a temperature, the shutting down
            assert record.windows == whole.windows
            continue
        counted += 1
        assert "GPU is lost" in record.reason
        assert len(record.windows) < energy.MIN_WINDOWS
    assert counted > 40
