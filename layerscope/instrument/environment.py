"""This machine and its software in, an `Environment` record out. Environment variables stay out."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import torch

from layerscope import __version__
from layerscope.records import Environment

_PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "tensorboard",
    "torch-tb-profiler",
    "jiwer",
    "nvidia-ml-py",
    "fvcore",
    "numpy",
    "msgspec",
    "pyarrow",
    "triton",
)


def read_environment(*, cuda: bool) -> Environment:
    """Record the machine. With `cuda`, the device torch uses, its clocks and limits as NVML has them."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    gpu = _read_gpu() if cuda else {}
    return Environment(
        layerscope=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu_model=_cpu_model(),
        cpu_count=os.cpu_count() or 1,
        memory_bytes=_memory_bytes(),
        torch=str(torch.__version__),
        torch_threads=torch.get_num_threads(),
        packages=versions,
        **gpu,  # type: ignore[arg-type]
    )


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux: the platform module knows less, but something
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _read_gpu() -> dict[str, object]:
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    found: dict[str, object] = {
        "cuda": torch.version.cuda,
        "gpu_name": properties.name,
        "gpu_count": torch.cuda.device_count(),
        "gpu_memory_bytes": properties.total_memory,
    }
    found.update(_read_nvml(str(properties.uuid)))
    return found


def _read_nvml(uuid: str) -> dict[str, object]:
    """Driver, clocks, temperature and power limit; each left out where NVML does not give it."""
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {}
    found: dict[str, object] = {}
    try:
        handle = pynvml.nvmlDeviceGetHandleByUUID(
            uuid if uuid.startswith("GPU-") else f"GPU-{uuid}"
        )
        asked = {
            "driver": lambda: str(pynvml.nvmlSystemGetDriverVersion()),
            "gpu_sm_clock_mhz": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "gpu_memory_clock_mhz": lambda: pynvml.nvmlDeviceGetClockInfo(
                handle, pynvml.NVML_CLOCK_MEM
            ),
            "gpu_temperature_c": lambda: pynvml.nvmlDeviceGetTemperature(
                handle, pynvml.NVML_TEMPERATURE_GPU
            ),
            "gpu_power_limit_w": lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
        }
        for field, ask in asked.items():
            try:
                found[field] = ask()  # type: ignore[no-untyped-call]
            except pynvml.NVMLError:
                continue
    except pynvml.NVMLError:
        pass  # the device is hidden from NVML (a container, MIG): its fields stay absent
    finally:
        pynvml.nvmlShutdown()
    return found
