"""Who else uses what a program's energy counters count: boards of a fake NVML, a faked /proc/stat."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from unit.measure import fake_nvml

from layerscope.measure.energy.nvml import NvmlDevice, open_devices
from layerscope.measure.energy.rapl import find_domains
from layerscope.measure.machine_load import CpuOthers
from layerscope.records import EnergyAbsent
from layerscope.run.program.counters import close_meters, read_of, uuids_of

LIBRARY = fake_nvml.__name__


@pytest.fixture
def boards() -> Iterator[tuple[NvmlDevice, ...]]:
    before = [dataclasses.replace(gpu) for gpu in fake_nvml.GPUS]
    opened = open_devices(["aaaa-0", "bbbb-1"], LIBRARY)
    assert not isinstance(opened, EnergyAbsent)
    yield opened
    for gpu, was in zip(fake_nvml.GPUS, before, strict=True):
        gpu.processes, gpu.errors = was.processes, {}


def test_another_process_on_a_board_is_named(boards: tuple[NvmlDevice, ...]) -> None:
    read = read_of(boards)
    assert read.others() == ""
    fake_nvml.GPUS[1].processes = 2
    assert read.others() == "2 processes compute on gpu 1; the counter has the joules of all"


def test_what_a_container_is_not_shown_is_not_known(boards: tuple[NvmlDevice, ...]) -> None:
    read = read_of(boards)
    fake_nvml.GPUS[0].processes = 0  # not even this one
    assert read.others() is None
    fake_nvml.GPUS[0].processes = 1
    fake_nvml.GPUS[1].errors = {"processes": fake_nvml.NVML_ERROR_NOT_SUPPORTED}
    assert read.others() is None


def test_nvml_is_shut_down_once(boards: tuple[NvmlDevice, ...]) -> None:
    closed = fake_nvml.LIMITS["closed"]
    close_meters(boards)
    assert fake_nvml.LIMITS["closed"] == closed + 1
    found = find_domains(Path("/nowhere"))
    assert isinstance(found, EnergyAbsent)
    close_meters(())


def stat(path: Path, ticks: int) -> None:
    cores = range(os.cpu_count() or 1)
    path.write_text("".join(f"cpu{core} {ticks} 0 0 9 0 0 0 0\n" for core in cores))


def test_other_processes_on_the_cores_are_told_by_the_clock_ticks(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    assert CpuOthers(path)() is None  # no such file
    stat(path, 1000)
    others = CpuOthers(path)
    assert others() == ""
    stat(path, 1_000_000)
    said = others()
    assert said is not None
    assert said.startswith("other processes took")


def test_a_model_on_the_cpu_has_no_board() -> None:
    assert uuids_of(torch.nn.Linear(2, 2)) == []
