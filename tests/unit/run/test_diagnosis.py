"""The checks of doctor over pretended devices, drivers, hubs and disks; the checks are real."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from support.kineto import TraceWriter
from support.shared import shared
from unit.measure import fake_nvml
from unit.measure.fake_energy import FakeCounter, FakeMachine

from layerscope.core.errors import EnvironmentProblem
from layerscope.measure.clock import SystemClock
from layerscope.records.diagnosis import Check, Diagnosis
from layerscope.report.diagnosis import diagnosis_json, render_diagnosis
from layerscope.run.diagnosis import energy, gpu, model, software, surroundings, tested, tracing
from layerscope.run.diagnosis.examine import all_probes, diagnose
from layerscope.run.diagnosis.probe import Finding, Probe
from layerscope.trace.columns import read_trace

FAKE = "unit.measure.fake_nvml"
UUIDS = ("aaaa-0", "GPU-bbbb-1")
TESTS = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    for device in fake_nvml.GPUS:
        device.errors.clear()
        device.mig = None
        device.energy_mj = 12_345
    fake_nvml.LIMITS.update(init=0, old=0, closed=0)


# Probes: isolation and time


def probe(look: Any, timeout_s: float | None = None, *, required: bool = False) -> Probe:
    return Probe(name="it", costs="much", look=look, timeout_s=timeout_s, required=required)


def raises(error: Exception) -> Any:
    def look() -> Finding:
        raise error

    return look


@pytest.mark.parametrize("timeout_s", [None, 30.0])
def test_what_a_check_raises_becomes_its_answer(timeout_s: float | None) -> None:
    crashed = probe(raises(ZeroDivisionError("one\ntwo")), timeout_s).check()
    assert (crashed.status, crashed.found) == (
        "unknown",
        "the check itself failed (ZeroDivisionError: one)",
    )
    assert crashed.remedy
    problem = probe(raises(EnvironmentProblem("no driver; install it")), timeout_s).check()
    assert (problem.status, problem.found) == ("missing", "no driver; install it")
    absent = probe(raises(ModuleNotFoundError("No module named 'x'")), timeout_s).check()
    assert absent.status == "missing"
    assert "No module named 'x'" in absent.found


def test_a_check_that_hangs_is_cut_off() -> None:
    released = threading.Event()

    def hang() -> Finding:
        released.wait(60)
        return Finding(status="ok", found="late")

    start = time.monotonic()
    check = probe(hang, 0.1).check()
    assert time.monotonic() - start < 10
    released.set()
    assert (check.status, check.found) == ("unknown", "no answer in 0.1 s")


def test_one_failure_hides_no_other_check_and_only_required_ones_block() -> None:
    told: list[int] = []
    good = Finding(status="ok", found="here")
    untried = Finding(status="limited", found="slow")
    probes = [
        Probe(name="a", costs="", look=raises(OSError("gone")), required=True),
        Probe(name="b", costs="", look=raises(OSError("gone"))),
        Probe(name="c", costs="", look=lambda: good, required=True),
        Probe(name="d", costs="", look=lambda: untried, required=True),
    ]
    diagnosis = diagnose(probes, told.append)
    assert [check.status for check in diagnosis.checks] == ["unknown", "unknown", "ok", "limited"]
    assert diagnosis.blocking == ("a",)
    assert not diagnosis.can_profile
    assert sum(told) == 4


def test_names_are_unique_and_every_check_says_what_its_absence_costs(tmp_path: Path) -> None:
    probes = all_probes(tmp_path)
    assert len({p.name for p in probes}) == len(probes)
    assert all(p.costs for p in probes)


# Software


@pytest.mark.parametrize(
    ("finding", "status", "said"),
    [
        (software.judge_python("3.11.7", "/p"), "ok", "3.11.7"),
        (software.judge_python("3.13.0", "/p"), "ok", "tested with 3.11, 3.12 and 3.13"),
        (software.judge_python("3.14.0", "/p"), "ok", "not with this one"),
        (software.judge_python("3.9.18", "/p"), "missing", "3.9.18"),
        (software.judge_torch("2.13.0+cpu", None, on_gpu=False), "ok", "without CUDA"),
        (software.judge_torch("2.11.1+cu130", "13.0", on_gpu=True), "ok", "CUDA 13.0"),
        (software.judge_torch("2.11.1+cu130", "13.0", on_gpu=False), "ok", "2.13 (CPU build)"),
        (software.judge_torch("2.14.1+cu130", "13.0", on_gpu=False), "ok", "without a GPU"),
        (software.judge_torch("2.14.1+cu130", "13.0", on_gpu=True), "unknown", "not with this"),
        (software.judge_torch("2.13.0+cu130", "13.0", on_gpu=False), "unknown", "not with this"),
        (software.judge_torch("2.11.0+cpu", None, on_gpu=False), "unknown", "2.11 (CUDA build, on"),
        (software.judge_torch("2.9.1", "12.8", on_gpu=False), "limited", "2.11 or later"),
        (software.judge_transformers("5.17.2"), "ok", "5.17.2"),
        (software.judge_transformers("5.24.0"), "ok", "tested with 5.17 and 5.24"),
        (software.judge_transformers("5.20.0"), "unknown", "not with this one"),
        (software.judge_transformers("4.57.1"), "limited", "<6"),
        (software.judge_transformers("6.0.0.dev0"), "limited", "<6"),
    ],
)
def test_versions(finding: Finding, status: str, said: str) -> None:
    assert finding.status == status
    assert said in finding.found
    assert bool(finding.remedy) == (status != "ok")


def test_the_versions_declared_are_those_that_ci_and_the_package_name() -> None:
    root = TESTS.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    needs = project["dependencies"]
    assert project["requires-python"] == f">={tested.PYTHON_LEAST}"
    assert f"torch>={tested.TORCH_LEAST}" in needs
    assert f"transformers>={tested.TRANSFORMERS_LEAST},<{tested.TRANSFORMERS_BELOW}" in needs
    assert tested.TRANSFORMERS[0] == tested.TRANSFORMERS_LEAST
    makefile = root / "Makefile"
    constraints = root / ".ci" / "constraints.txt"
    if not (makefile.exists() and constraints.exists()):
        pytest.skip("needs a clone of the repository")
    pinned = re.search(r"^torch==(\d+\.\d+)", constraints.read_text(), re.MULTILINE)
    oldest = re.search(r"^TRANSFORMERS \?= (\d+\.\d+)", makefile.read_text(), re.MULTILINE)
    assert pinned is not None
    assert oldest is not None
    assert pinned[1] in {t.series for t in tested.TORCH if t.build == "CPU"}
    assert oldest[1] == tested.TRANSFORMERS_LEAST
    listed = {c.rsplit(" ", 1)[1] for c in project["classifiers"] if " :: 3." in c}
    assert listed == set(tested.PYTHON)


def install(folder: Path, name: str, source: str) -> None:
    """A distribution of one module, as pip leaves it."""
    (folder / f"{name}.py").write_text(source)
    info = folder / f"{name}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")


def test_packages_are_imported_not_just_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "ls_whole", "")
    install(tmp_path, "ls_broken", "raise RuntimeError('undefined symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    assert software.package("ls_whole", "ls_whole") == Finding(status="ok", found="ls_whole 1.5")
    broken = software.package("ls_broken", "ls_broken")
    assert broken.status == "missing"
    assert "ls_broken cannot be imported" in broken.found
    assert "undefined symbol" in broken.found
    absent = software.package("ls_absent", "ls_absent")
    assert (absent.status, absent.remedy) == ("missing", "pip install ls_absent")


def test_plugins_are_found_by_their_package_and_loaded() -> None:
    def announce(value: str) -> list[EntryPoint]:
        return [EntryPoint("torch_profiler", value, software.PLUGIN_GROUP)]

    assert software.profiler_plugin([]).status == "missing"
    assert software.profiler_plugin(announce("projector.plugin:Plugin")).status == "missing"
    broken = software.profiler_plugin(announce("torch_tb_profiler.no_such_module:Plugin"))
    assert broken.status == "missing"
    assert "cannot be loaded" in broken.found
    pytest.importorskip("torch_tb_profiler")
    real = software.profiler_plugin(software.plugins())
    assert real.status == "ok", real


# Tracing


def test_a_real_host_trace() -> None:
    finding = tracing.host_tracing()
    assert finding.status == "ok", finding
    assert int(finding.found.split()[-3]) >= 1


def test_an_operator_that_is_not_in_the_trace_is_missed(tmp_path: Path) -> None:
    writer = TraceWriter()
    writer.op("aten::add", 0, 100)
    finding = tracing.judge_host(read_trace(writer.write(tmp_path / "t.json")))
    assert finding.status == "missing"


def device_trace(tmp_path: Path, launched: int, kernels: int) -> Finding:
    writer = TraceWriter()
    writer.op("aten::mul", 0, 1000)
    for correlation in range(1, launched + 1):
        writer.launch(correlation, correlation * 10)
    for correlation in range(1, kernels + 1):
        writer.kernel(correlation, 2000 + correlation * 100, 50)
    return tracing.judge_device(read_trace(writer.write(tmp_path / "t.json.gz")))


def test_device_events_need_their_launches(tmp_path: Path) -> None:
    whole = device_trace(tmp_path, launched=2, kernels=2)
    assert whole.status == "ok"
    assert "2 device events, 2 linked" in whole.found
    torn = device_trace(tmp_path, launched=1, kernels=2)
    assert torn.status == "limited"
    assert "2 device events, 1 linked" in torn.found
    none = device_trace(tmp_path, launched=3, kernels=0)
    assert none.status == "missing"
    assert "(3 launches)" in none.found
    assert "CUPTI" in none.remedy


def test_a_trace_recorded_on_an_h200_passes() -> None:
    columns = read_trace(shared("traces/xl_b1_cudagraphs_h200.trace.json.gz"))
    assert tracing.judge_device(columns).status == "ok"


# Devices


class FakeCuda:
    """The part of `torch.cuda` that doctor reads."""

    def __init__(self, *capabilities: tuple[int, int], built: str = "sm_80 sm_90") -> None:
        self._capabilities = capabilities
        self._built = built

    def is_available(self) -> bool:
        return bool(self._capabilities)

    def init(self) -> None:
        raise RuntimeError("the driver is too old. Update it:\n see http://x.")

    def device_count(self) -> int:
        return len(self._capabilities)

    def get_arch_list(self) -> list[str]:
        return self._built.split()

    def get_device_properties(self, index: int) -> SimpleNamespace:
        major, minor = self._capabilities[index]
        return SimpleNamespace(
            name="NVIDIA H200", total_memory=140 * 2**30, major=major, minor=minor,
            uuid=fake_nvml.GPUS[index].uuid.removeprefix("GPU-"),
        )  # fmt: skip


def test_devices_are_named_with_memory_and_capability() -> None:
    one = gpu.cuda_devices(FakeCuda((9, 0)), "2.11.0", "13.0")
    assert one == Finding(
        status="ok", found="device 0: NVIDIA H200, 140.0 GiB, compute capability 9.0"
    )
    two = gpu.cuda_devices(FakeCuda((9, 0), (9, 0)), "2.11.0", "13.0")
    assert two.status == "ok"
    assert "device 1: " in two.found
    assert "runs the model on device 0" in two.found


def test_a_device_that_torch_has_no_code_for() -> None:
    finding = gpu.cuda_devices(FakeCuda((7, 0)), "2.11.0", "13.0")
    assert finding.status == "limited"
    assert "no code for 7.0 (it has sm_80 sm_90)" in finding.found


@pytest.mark.parametrize(
    ("built", "capability", "runs"),
    [
        ("sm_80", (8, 6), True),
        ("sm_86", (8, 0), False),
        ("sm_80", (9, 0), False),
        ("sm_90a", (9, 0), True),
        ("sm_100", (10, 0), True),
        ("sm_120", (10, 0), False),
        ("compute_80", (9, 0), True),
        ("compute_90", (8, 9), False),
        ("gfx942", (9, 0), False),
    ],
)
def test_which_code_runs_where(built: str, capability: tuple[int, int], runs: bool) -> None:
    assert gpu.has_code([built], *capability) is runs


def test_no_device_says_whether_torch_or_the_driver_is_at_fault() -> None:
    cpu_build = gpu.cuda_devices(FakeCuda(), "2.13.0+cpu", None)
    assert cpu_build.status == "missing"
    assert "built without CUDA" in cpu_build.found
    hidden = gpu.cuda_devices(FakeCuda(), "2.11.0", "13.0")
    assert hidden.status == "missing"
    assert "nvidia-smi" in hidden.remedy
    assert "(the driver is too old)" in hidden.found  # torch's own reason


def test_torch_names_and_nvml_devices_are_the_same_gpus() -> None:
    names = gpu.identifiers(FakeCuda((9, 0), (9, 0)))
    assert [d.index for d in gpu.devices(fake_nvml, names)] == [0, 1]
    assert gpu.identifiers(FakeCuda()) == ()
    with pytest.raises(EnvironmentProblem, match="does not know the device GPU-cccc"):
        gpu.devices(fake_nvml, ["cccc"])


def test_the_driver_and_a_driver_that_is_not_loaded() -> None:
    assert gpu.driver(FAKE) == Finding(status="ok", found="NVIDIA driver 580.65.06")
    assert fake_nvml.LIMITS["closed"] == 1
    fake_nvml.LIMITS["init"] = fake_nvml.NVML_ERROR_DRIVER_NOT_LOADED
    check = probe(lambda: gpu.driver(FAKE), 10).check()
    assert check.status == "missing"
    assert "load the NVIDIA driver" in check.found


def test_mig_mode() -> None:
    assert gpu.mig(UUIDS, FAKE).status == "ok"  # a GPU without MIG says "not supported"
    fake_nvml.GPUS[1].mig = True
    finding = gpu.mig(UUIDS, FAKE)
    assert (finding.status, finding.found) == ("limited", "in MIG mode: gpu 1")
    assert gpu.mig(["MIG-1234"], FAKE).status == "limited"
    assert gpu.mig((), FAKE).status == "unknown"


def test_clocks_as_they_stand() -> None:
    finding = gpu.clocks(UUIDS[:1], FakeMachine(), FAKE)
    assert finding.status == "limited"
    assert finding.found == (
        "gpu 0: SM clock 1980 MHz, memory clock 3201 MHz, temperature 47 C, power limit 700 W, "
        "held back by: software power cap, hardware thermal slowdown"
    )


def test_clocks_fixed_on_purpose_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_nvml, "nvmlDeviceGetCurrentClocksEventReasons", lambda gpu: 0x1 | 0x2)
    finding = gpu.clocks(UUIDS, FakeMachine(), FAKE)
    assert finding.status == "ok"
    assert "held back by: application clocks setting" in finding.found


# Energy


def test_the_interval_between_moves_by_hand() -> None:
    machine = FakeMachine()
    # Moves at 33, 133, ..., 933 ms of the second that is watched.
    counters = [FakeCounter(machine), FakeCounter(machine, name="gpu 1", step_s=0.02)]
    slow, fast = energy.watch(counters, machine)
    assert (slow.name, len(slow.edges_ns), slow.interval_ms) == ("gpu 0", 10, 100.0)
    assert (fast.name, len(fast.edges_ns), fast.interval_ms) == ("gpu 1", 49, 20.0)
    finding = energy.judge_movement([slow, fast])
    assert finding.status == "ok"
    assert "gpu 0: the counter moved 10 times in 1 s, every 100.0 ms (median)" in finding.found


@pytest.mark.parametrize(
    ("mode", "status", "said"),
    [
        ("stuck", "limited", "moved 0 times in 1 s"),
        ("vanished", "missing", "GPU is lost"),
        ("reset", "limited", "went back"),
    ],
)
def test_counters_that_go_wrong_while_watched(mode: str, status: str, said: str) -> None:
    machine = FakeMachine()
    bad, good = FakeCounter(machine), FakeCounter(machine, name="gpu 1")

    class Turning(FakeMachine):
        def stay_awake(self, seconds: float) -> None:
            self.sleep(seconds)

        def sleep(self, seconds: float) -> None:
            machine.sleep(seconds)
            if machine.now_ns > 1_500_000_000 or mode == "stuck":
                bad.mode = mode

        def monotonic_ns(self) -> int:
            return machine.now_ns

    finding = energy.judge_movement(energy.watch([bad, good], Turning()))
    assert finding.status == status
    assert said in finding.found
    assert finding.remedy


def test_one_move_has_no_interval() -> None:
    machine = FakeMachine()
    finding = energy.judge_movement(energy.watch([FakeCounter(machine, step_s=0.9)], machine))
    assert finding.status == "ok"  # 33 and 933 ms
    machine = FakeMachine()
    finding = energy.judge_movement(energy.watch([FakeCounter(machine, step_s=2)], machine))
    assert finding.status == "limited"
    assert "moved 1 times" in finding.found


class _TenTimesASecond:
    """Moves the pretended NVML's counters by 25 J each 100 ms of the machine's time."""

    share = 1.0

    def __init__(self) -> None:
        self._spent_ns = 0

    def pass_time(self, start_ns: int, span_ns: int, watts: float) -> None:
        before, self._spent_ns = self._spent_ns, self._spent_ns + span_ns
        for _ in range(self._spent_ns // 100_000_000 - before // 100_000_000):
            for device in fake_nvml.GPUS:
                device.energy_mj += 25_000


def test_nvml_counters_of_all_devices() -> None:
    machine = FakeMachine()
    machine.counters.append(_TenTimesASecond())  # type: ignore[arg-type]
    finding = energy.nvml_counter(UUIDS, machine, FAKE)
    assert finding.status == "ok", finding
    assert finding.found.count("every 100.0 ms") == 2
    assert fake_nvml.LIMITS["closed"] == 1


def test_nvml_counter_without_permission() -> None:
    fake_nvml.GPUS[1].errors["energy"] = fake_nvml.NVML_ERROR_NO_PERMISSION
    finding = energy.nvml_counter(UUIDS, FakeMachine(), FAKE)
    assert finding.status == "missing"
    assert "device 1" in finding.found
    assert "ask the administrator" in finding.found
    assert energy.nvml_counter((), FakeMachine(), FAKE) == gpu.NO_DEVICE


def test_power_is_polled_by_the_real_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS.parent), str(TESTS)]))
    finding = energy.power(UUIDS, SystemClock(), FAKE)
    assert finding.status == "ok", finding
    assert "250 to 250 W" in finding.found
    assert "100 to 100 W" in finding.found
    absent = energy.power(("cccc",), SystemClock(), FAKE)
    assert absent.status == "missing"
    assert "cccc" in absent.found


def test_rapl_read_from_a_powercap_folder(tmp_path: Path) -> None:
    assert energy.rapl(tmp_path).status == "missing"
    domain = tmp_path / "intel-rapl:0"
    domain.mkdir()
    for name, text in (
        ("name", "package-0"),
        ("energy_uj", "2500000"),
        ("max_energy_range_uj", "262143328850"),
    ):
        (domain / name).write_text(f"{text}\n")
    found = energy.rapl(tmp_path)
    assert found.status == "ok"
    assert found.found.startswith("readable: package-0 2.5 J; ")
    assert "never seen on hardware" in found.found


def test_the_probes_ask_torch_and_nvml_for_the_same_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    cuda = FakeCuda((9, 0), (9, 0))
    for name in ("is_available", "device_count", "get_arch_list", "get_device_properties"):
        monkeypatch.setattr(torch.cuda, name, getattr(cuda, name))
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml)
    fake_nvml.GPUS[1].mig = True
    wanted = ("cuda", "driver", "mig", "gpu_state", "nvml_energy")
    asked = [p for p in all_probes(tmp_path) if p.name in wanted]
    checks = {check.name: check for check in diagnose(asked, lambda steps: None).checks}
    assert {name: check.status for name, check in checks.items()} == {
        "cuda": "ok",
        "driver": "ok",
        "mig": "limited",
        "gpu_state": "limited",
        "nvml_energy": "limited",  # these counters stand still
    }
    assert checks["nvml_energy"].found.count("moved 0 times") == 2
    assert "gpu 1: SM clock 1980 MHz" in checks["gpu_state"].found


# Model, disks, hub, CPU


def test_the_bundled_model_loads() -> None:
    assert model.tiny_model().status == "ok"


def test_the_xl_model_in_the_cache_whole_partly_and_not_at_all(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    assert model.xl_in_cache(tmp_path).status == "missing"
    repo = tmp_path / "models--Salesforce--instructblip-flan-t5-xl"
    snapshot = repo / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("a" * 40)
    (snapshot / "config.json").write_text("{}")
    partly = model.xl_in_cache(tmp_path)
    assert partly.status == "limited"
    assert "only part" in partly.found
    save_file({"w": np.zeros(4)}, snapshot / "model.safetensors")
    whole = model.xl_in_cache(tmp_path)
    assert whole.status == "ok", whole
    assert "1 weight files" in whole.found
    full_disk = surroundings.cache_disk(tmp_path, free=lambda folder: 0)
    assert full_disk.status == "ok"  # what lies there needs no room


def test_disks(tmp_path: Path) -> None:
    assert surroundings.traces_disk(tmp_path / "not" / "yet").status == "ok"
    assert not (tmp_path / "not").exists()
    file = tmp_path / "file"
    file.write_text("")
    blocked = surroundings.traces_disk(file / "traces")
    assert blocked.status == "missing"
    assert "cannot be written" in blocked.found
    small = surroundings.cache_disk(tmp_path, free=lambda folder: 16_000_000_000)
    assert small.status == "limited"
    assert surroundings.cache_disk(tmp_path, free=lambda folder: 17_000_000_000).status == "ok"


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@contextmanager
def pretended_hub(code: int, body: dict[str, Any], **headers: str) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.usefixtures("online")
def test_a_hub_that_answers() -> None:
    name = "Salesforce/instructblip-flan-t5-xl"
    with pretended_hub(200, {"id": name, "sha": "f" * 40, "siblings": []}) as endpoint:
        finding = surroundings.hub(endpoint)
    assert finding.status == "ok", finding
    assert "f" * 40 in finding.found
    with pretended_hub(404, {}, X_Error_Code="RepoNotFound") as endpoint:
        assert surroundings.hub(endpoint).status == "limited"


@pytest.mark.usefixtures("online")
def test_a_hub_that_never_answers_is_cut_off_and_its_address_not_shown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://user:hunter2@127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        check = probe(lambda: surroundings.hub(endpoint), surroundings.HUB_TIMEOUT_S + 2).check()
        assert time.monotonic() - start < surroundings.HUB_TIMEOUT_S + 5
    assert check.status == "missing", check
    assert "--model tiny" in check.remedy
    assert "hunter2" not in repr(check)


def test_a_hub_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    finding = surroundings.hub()
    assert finding.status == "missing"
    assert "offline" in finding.found
    assert "--weights random" in finding.remedy


def test_cpu_noise(tmp_path: Path) -> None:
    def loaded(minute: float) -> Any:
        return lambda: (minute, 0.0, 0.0)

    calm = surroundings.cpu_noise(loaded(0.0), tmp_path)
    assert calm.status == "ok"
    assert "scaling governor not readable" in calm.found
    busy = surroundings.cpu_noise(loaded(1000.0), tmp_path)
    assert busy.status == "limited"
    assert "load 1000.00" in busy.found
    for core, governor in enumerate(("powersave", "powersave", "performance")):
        folder = tmp_path / f"cpu{core}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{governor}\n")
    saving = surroundings.cpu_noise(loaded(0.0), tmp_path)
    assert saving.status == "limited"
    assert "powersave (2 cores), performance (1 cores)" in saving.found


# The screen and the JSON


def diagnosis(*blocking: str) -> Diagnosis:
    checks = (
        Check(name="cuda", status="ok", found="device 0: [bold]X", costs="GPU numbers", remedy=""),
        Check(name="rapl", status="missing", found="none", costs="CPU joules", remedy="modprobe"),
    )
    return Diagnosis(layerscope="0.1", checks=checks, blocking=blocking)


def shown(what: Diagnosis) -> list[str]:
    out = io.StringIO()
    render_diagnosis(what, Console(file=out, width=40))
    return out.getvalue().splitlines()


def test_costs_and_remedies_are_shown_where_something_is_missing() -> None:
    lines = shown(diagnosis())
    assert lines[2:] == [
        "ok       cuda    device 0: [bold]X",
        "missing  rapl    none",
        "         costs   CPU joules",
        "         remedy  modprobe",
        "",
        "2 checks: 1 ok, 1 missing",
        "layerscope profile can run here",
    ]


def test_what_blocks_is_named() -> None:
    assert shown(diagnosis("rapl"))[-1].endswith("see: rapl")


def test_the_json_holds_everything() -> None:
    read = json.loads(diagnosis_json(diagnosis("rapl")))
    assert list(read) == ["schema_version", "layerscope", "can_profile", "blocking", "checks"]
    assert (read["can_profile"], read["blocking"]) == (False, ["rapl"])
    assert read["checks"][1] == {
        "name": "rapl",
        "status": "missing",
        "found": "none",
        "costs": "CPU joules",
        "remedy": "modprobe",
    }


def test_kept_ceilings_are_shown_missed_or_doubted(tmp_path: Path) -> None:
    from layerscope.measure.ceilings import ceilings_key, device_name
    from layerscope.measure.ceilings_cache import store
    from layerscope.records.work import CEILINGS_FORM, Ceilings
    from layerscope.run.diagnosis.ceilings import kept_ceilings

    path = tmp_path / "ceilings.json"
    missing = kept_ceilings(path)
    assert missing.status == "missing"
    assert missing.remedy.startswith("layerscope ceilings")
    import torch

    cpu = torch.device("cpu")
    kept = Ceilings(
        key=ceilings_key(cpu, None, None),
        device=device_name(cpu),
        measured_utc="2026-11-20T10:00:00Z",
        matmul_flops_per_s={"float32": 3e11},
        matmul_shape={},
        copy_bytes_per_s=2e10,
        method="",
        absent=dict.fromkeys(("float16", "bfloat16", "tf32"), "no"),
        form=CEILINGS_FORM,
    )
    store(path, kept)
    found = kept_ceilings(path)
    assert found.status == "ok"
    assert found.found == "of 2026-11-20: float32 0.300 TFLOP/s, copy 20.0 GB/s"
    path.write_text("{")
    doubted = kept_ceilings(path)
    assert (doubted.status, doubted.remedy) == ("limited", "layerscope ceilings --remeasure")
    assert "damaged" in doubted.found
