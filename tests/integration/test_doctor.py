"""`layerscope doctor` as a user runs it: on this machine, with no way to write, and broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command import layerscope

NAMES = [
    "python",
    "torch",
    "transformers",
    "private_names",
    "tiny_model",
    "host_tracing",
    "device_tracing",
    "cuda",
    "driver",
    "mig",
    "gpu_state",
    "optimizations",
    "nvml_energy",
    "power_polling",
    "rapl",
    "tensorboard",
    "tensorboard_torch_profiler",
    "tensorboard_layerscope",
    "pyarrow",
    "datasets",
    "jiwer",
    "fvcore",
    "hub",
    "xl_model",
    "traces_disk",
    "cache_disk",
    "cpu_noise",
    "ceilings",
]


def test_the_json_has_stable_keys_and_no_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYERSCOPE_SECRET", "correct-horse-battery")
    monkeypatch.setenv("HF_TOKEN", "hf_correct_horse_battery")
    done = layerscope("doctor", "--json", "--out", tmp_path / "traces")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # neither progress nor Kineto's own lines
    assert "horse" not in done.stdout
    read = json.loads(done.stdout)
    assert list(read) == ["schema_version", "layerscope", "can_profile", "blocking", "checks"]
    assert [check["name"] for check in read["checks"]] == NAMES
    for check in read["checks"]:
        assert list(check) == ["name", "status", "found", "costs", "remedy"]
        assert check["found"]
        assert check["costs"]
        assert bool(check["remedy"]) == (check["status"] != "ok"), check
    status = {check["name"]: check["status"] for check in read["checks"]}
    assert status["tiny_model"] == status["host_tracing"] == status["traces_disk"] == "ok"
    assert status["hub"] == "missing"  # the tests work offline
    import torch

    there = torch.cuda.is_available()
    assert (status["cuda"] == "missing") is not there
    assert (status["device_tracing"] == "missing") is not there
    assert not list(tmp_path.iterdir())


def test_exit_code_3_where_nothing_can_be_profiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken packages and a folder that cannot be: each is said, and hides no other check."""
    for package in ("transformers", "fvcore"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise OSError('libx.so: not found')\n")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = layerscope("doctor", "--out", tmp_path / "file" / "traces")
    assert done.returncode == 3, done.stderr
    answers = {line.split()[1]: line for line in done.stdout.splitlines() if len(line.split()) > 1}
    for name in ("transformers", "fvcore"):
        assert answers[name].startswith("missing")
        assert "libx.so: not found" in answers[name]
    assert answers["traces_disk"].startswith("missing")
    assert answers["host_tracing"].startswith("ok")
    assert answers["jiwer"].startswith("ok")
    assert set(NAMES) <= set(answers)
    last = done.stdout.splitlines()[-1]
    assert "cannot run here" in last
    assert last.endswith("see: tiny_model, traces_disk")
    assert "Traceback" not in done.stderr
    assert "\x1b[" not in done.stdout
