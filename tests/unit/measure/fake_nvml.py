"""NVML's functions over GPUs that exist only here; also importable by the power polling process.

The environment variables FAKE_NVML_* choose what goes wrong, since a process cannot be handed one.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field

NVML_ERROR_NOT_SUPPORTED = 3
NVML_ERROR_NO_PERMISSION = 4
NVML_ERROR_NOT_FOUND = 6
NVML_ERROR_DRIVER_NOT_LOADED = 9
NVML_ERROR_GPU_IS_LOST = 15
NVML_CLOCK_SM = 1
NVML_CLOCK_MEM = 2
NVML_TEMPERATURE_GPU = 0
_WORDS = {3: "Not Supported", 4: "Insufficient Permissions", 6: "Not Found", 15: "GPU is lost"}


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(_WORDS.get(value, f"error {value}"))
        self.value = value


@dataclass
class Gpu:
    uuid: str
    bus: str
    index: int
    energy_mj: int = 12_345
    power_mw: int = 250_000
    mig: bool | None = None
    errors: dict[str, int] = field(default_factory=dict)
    processes: int = 1


GPUS = [
    Gpu("GPU-aaaa-0", "00000000:1B:00.0", 0),
    Gpu("GPU-bbbb-1", "00000000:2C:00.0", 1, power_mw=100_000),
]
LIMITS = {"init": 0, "old": 0, "closed": 0}


def nvmlInit() -> None:
    if LIMITS["init"]:
        raise NVMLError(LIMITS["init"])


def nvmlShutdown() -> None:
    LIMITS["closed"] += 1


def nvmlSystemGetDriverVersion() -> bytes:
    return b"580.65.06"


def _check(gpu: Gpu, what: str) -> None:
    if what in gpu.errors:
        raise NVMLError(gpu.errors[what])


def _find(**wanted: str) -> Gpu:
    for gpu in GPUS:
        if all(getattr(gpu, key) == value for key, value in wanted.items()):
            return gpu
    raise NVMLError(NVML_ERROR_NOT_FOUND)


def nvmlDeviceGetComputeRunningProcesses(gpu: Gpu) -> list[object]:
    _check(gpu, "processes")
    return [object()] * gpu.processes


def nvmlDeviceGetHandleByUUID(uuid: str) -> Gpu:
    return _find(uuid=uuid)


def nvmlDeviceGetHandleByPciBusId(bus: str) -> Gpu:
    return _find(bus=bus)


def nvmlDeviceGetIndex(gpu: Gpu) -> int:
    return gpu.index


def nvmlDeviceGetName(gpu: Gpu) -> bytes:
    return b"NVIDIA H200"


def nvmlDeviceGetMigMode(gpu: Gpu) -> list[int]:
    if gpu.mig is None:
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return [int(gpu.mig), int(gpu.mig)]


def nvmlDeviceGetTotalEnergyConsumption(gpu: Gpu) -> int:
    _check(gpu, "energy")
    return gpu.energy_mj


def nvmlDeviceGetPowerUsage(gpu: Gpu) -> int:
    if {"torch", "transformers"} & set(sys.modules) and os.environ.get("FAKE_NVML_CHILD"):
        raise NVMLError(999)
    _check(gpu, "power")
    if os.environ.get("FAKE_NVML_LOST_AFTER_NS", "") and time.monotonic_ns() > int(
        os.environ["FAKE_NVML_LOST_AFTER_NS"]
    ):
        raise NVMLError(NVML_ERROR_GPU_IS_LOST)
    if os.environ.get("FAKE_NVML_HANG") and getattr(gpu, "polled", 0) > 2:
        time.sleep(60)
    gpu.polled = getattr(gpu, "polled", 0) + 1  # type: ignore[attr-defined]
    return gpu.power_mw


def nvmlDeviceGetClockInfo(gpu: Gpu, kind: int) -> int:
    _check(gpu, "clock")
    return {NVML_CLOCK_SM: 1980, NVML_CLOCK_MEM: 3201}[kind]


def nvmlDeviceGetTemperature(gpu: Gpu, sensor: int) -> int:
    _check(gpu, "temperature")
    return 47


def nvmlDeviceGetEnforcedPowerLimit(gpu: Gpu) -> int:
    return 700_000


def nvmlDeviceGetCurrentClocksEventReasons(gpu: Gpu) -> int:
    if LIMITS["old"]:
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return 0x1 | 0x4 | 0x40


def nvmlDeviceGetCurrentClocksThrottleReasons(gpu: Gpu) -> int:
    return 0x8
