"""What libraries are known to say on stderr stays off it; what is not known, or is news, is printed."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest
import torch

from layerscope.instrument.library_noise import advice_ignored, is_noise, without_library_noise

USDT = b"USDT:2026-11-27 22:21:35 8522:8522 SyncActivityProfilerHandler.cpp:39] profiler_start\n"
NO_DEVICE = (
    b"ERROR:2026-11-27 22:20:33 7373:7373 DeviceProperties.cpp:56] "
    b"gpuGetDeviceCount failed with code 35\n"
)


def test_only_known_lines_are_held_back(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with without_library_noise():
        os.write(2, USDT + b"a real complaint\n" + NO_DEVICE + b"ERROR: gpuLaunchKernel failed\n")
    os.write(2, b"after\n")
    said = capfd.readouterr().err.splitlines()
    assert said == ["a real complaint", "ERROR: gpuLaunchKernel failed", "after"]


def test_what_is_said_inside_comes_out_when_the_block_raises(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def crash() -> None:
        with without_library_noise():
            os.write(2, USDT + b"the reason of the crash\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    assert capfd.readouterr().err == "the reason of the crash\n"


@pytest.mark.parametrize("there", [True, False])
def test_a_failed_count_of_devices_is_news_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert is_noise(NO_DEVICE) is not there
    assert is_noise(USDT)
    assert not is_noise(b"gpuGetDeviceProperties failed with code 35\n")
    assert not is_noise(b"\n")


def test_warnings_for_programmers_are_dropped_and_those_of_results_kept() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with warnings.catch_warnings():
            warnings.warn_explicit("kept before", FutureWarning, "m.py", 1)
        with advice_ignored():
            for category in (FutureWarning, DeprecationWarning, UserWarning, RuntimeWarning):
                warnings.warn_explicit(f"a {category.__name__}", category, "m.py", 1)
            warnings.warn_explicit("CUDA initialization: too old", UserWarning, "m.py", 1)
        warnings.warn_explicit("kept after", FutureWarning, "m.py", 1)
    assert [str(w.message) for w in seen] == [
        "kept before", "a UserWarning", "a RuntimeWarning", "kept after",
    ]  # fmt: skip


def test_who_asks_python_for_warnings_gets_them() -> None:
    code = (
        "import warnings; from layerscope.instrument.library_noise import advice_ignored\n"
        "with advice_ignored(): warnings.warn('of torch', FutureWarning)"
    )
    said = [
        subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True).stderr
        for flags in ([], ["-W", "default"])
    ]
    assert said[0] == ""
    assert "FutureWarning: of torch" in said[1]
