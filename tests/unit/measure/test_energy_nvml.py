"""NVML meters over a library that pretends to be NVML."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from unit.measure import fake_nvml
from unit.measure.fake_energy import FakeMachine

from layerscope.measure.energy.meter import MeterLost
from layerscope.measure.energy.nvml import (
    driver_version,
    find_devices,
    load_library,
    open_devices,
)
from layerscope.records.energy_record import EnergyAbsent

FAKE = "unit.measure.fake_nvml"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    for gpu in fake_nvml.GPUS:
        gpu.errors.clear()
        gpu.mig = None
        gpu.energy_mj = 12_345
    fake_nvml.LIMITS.update(init=0, old=0, closed=0)


def reason_of(result: object) -> str:
    assert isinstance(result, EnergyAbsent)
    return result.reason


def test_devices_are_found_by_name_in_the_order_asked() -> None:
    found = find_devices(fake_nvml, ["bbbb-1", "00000000:1B:00.0"])
    assert not isinstance(found, EnergyAbsent)
    assert [device.index for device in found] == [1, 0]
    assert found[0].source == "nvml total energy counter, device 1: NVIDIA H200"
    assert found[0].read_j() == pytest.approx(12.345)
    assert found[0].read_power_w() == pytest.approx(100.0)
    assert driver_version(fake_nvml) == "580.65.06"


def test_one_device_named_in_two_ways_counts_once() -> None:
    found = find_devices(fake_nvml, ["aaaa-0", "GPU-aaaa-0", "00000000:1B:00.0"])
    assert not isinstance(found, EnergyAbsent)
    assert [device.index for device in found] == [0]


def test_state_reads_what_the_device_has() -> None:
    found = find_devices(fake_nvml, ["aaaa-0"])
    assert not isinstance(found, EnergyAbsent)
    machine = FakeMachine()
    state = found[0].state(machine)
    assert (state.device, state.time_ns) == ("gpu 0", machine.now_ns)
    assert (state.temperature_c, state.sm_clock_mhz, state.memory_clock_mhz) == (47, 1980, 3201)
    assert state.power_limit_w == 700.0
    assert state.throttle_reasons == ("software power cap", "hardware thermal slowdown")
    fake_nvml.LIMITS["old"] = 1
    fake_nvml.GPUS[0].errors["temperature"] = fake_nvml.NVML_ERROR_NOT_SUPPORTED
    state = found[0].state(machine)
    assert state.temperature_c is None
    assert state.throttle_reasons == ("hardware slowdown",)


@pytest.mark.parametrize(
    ("code", "words"), [(3, "Volta and later"), (4, "ask the administrator"), (15, "reboot")]
)
def test_an_unreadable_counter_is_absent_with_the_reason(code: int, words: str) -> None:
    fake_nvml.GPUS[0].errors["energy"] = code
    assert words in reason_of(find_devices(fake_nvml, ["aaaa-0"]))


def test_unknown_device_mig_and_none_are_absent() -> None:
    assert "nvidia-smi -L" in reason_of(find_devices(fake_nvml, ["cccc"]))
    assert "MIG" in reason_of(find_devices(fake_nvml, ["MIG-1234"]))
    assert "no GPU" in reason_of(find_devices(fake_nvml, []))
    fake_nvml.GPUS[1].mig = False
    assert not isinstance(find_devices(fake_nvml, ["bbbb-1"]), EnergyAbsent)
    fake_nvml.GPUS[1].mig = True
    assert "slice" in reason_of(find_devices(fake_nvml, ["bbbb-1"]))


def test_a_gpu_lost_after_opening_raises_meter_lost() -> None:
    found = find_devices(fake_nvml, ["aaaa-0"])
    assert not isinstance(found, EnergyAbsent)
    fake_nvml.GPUS[0].errors["energy"] = fake_nvml.NVML_ERROR_GPU_IS_LOST
    with pytest.raises(MeterLost, match="GPU is lost"):
        found[0].read_j()


def test_a_library_that_is_missing_or_does_not_start_is_absent() -> None:
    assert "pip install nvidia-ml-py" in reason_of(load_library("no_such_nvml"))
    fake_nvml.LIMITS["init"] = fake_nvml.NVML_ERROR_DRIVER_NOT_LOADED
    assert "load the NVIDIA driver" in reason_of(load_library(FAKE))


def test_opening_none_closes_the_library() -> None:
    assert "nvidia-smi" in reason_of(open_devices(["cccc"], FAKE))
    assert fake_nvml.LIMITS["closed"] == 1


def test_the_real_library_never_raises_and_has_every_name_used() -> None:
    library = pytest.importorskip("pynvml")
    for name in vars(fake_nvml):
        if name.startswith(("nvml", "NVML_")):
            assert hasattr(library, name), name
    found = open_devices(["00000000-0000-0000-0000-000000000000"])
    assert isinstance(found, EnergyAbsent)
    assert found.reason
