"""torch's view of the GPUs and NVML's in; findings on devices, driver, MIG and clocks out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from layerscope.core.errors import EnvironmentProblem
from layerscope.core.units import size_text
from layerscope.measure.clock import Clock
from layerscope.measure.energy.nvml import (
    LIBRARY,
    NvmlDevice,
    close,
    driver_version,
    in_words,
    load_library,
)
from layerscope.records.energy_record import DeviceState, EnergyAbsent
from layerscope.run.diagnosis.probe import Finding
from layerscope.workload.cuda_device import why_no_cuda

NO_DEVICE = Finding(
    status="missing", found="torch sees no CUDA device", remedy="see the check `cuda`"
)
_NOTHING_TO_READ = dataclasses.replace(NO_DEVICE, status="unknown")
# Clocks that somebody fixed on purpose make runs more alike, not less.
_HARMLESS = frozenset({"application clocks setting", "sync boost", "display clock setting"})


@contextmanager
def nvml(library_name: str = LIBRARY) -> Iterator[Any]:
    """NVML, started, and shut down afterwards.

    Raises:
        EnvironmentProblem: it is not installed or does not start.
    """
    library = load_library(library_name)
    if isinstance(library, EnergyAbsent):
        raise EnvironmentProblem(library.reason)
    try:
        yield library
    finally:
        close(library)


def identifiers(cuda: Any) -> tuple[str, ...]:
    """The UUIDs of the devices that torch sees, in its order.

    Args:
        cuda: `torch.cuda`.
    """
    if not cuda.is_available():
        return ()
    return tuple(
        str(cuda.get_device_properties(index).uuid) for index in range(cuda.device_count())
    )


def devices(library: Any, uuids: Sequence[str]) -> tuple[NvmlDevice, ...]:
    """NVML's side of these devices, whether or not they count energy.

    Raises:
        EnvironmentProblem: NVML does not know one of them.
    """
    found = []
    for uuid in uuids:
        whole = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
        try:
            handle = library.nvmlDeviceGetHandleByUUID(whole)
            name = library.nvmlDeviceGetName(handle)
            index = int(library.nvmlDeviceGetIndex(handle))
        except library.NVMLError as error:
            raise EnvironmentProblem(
                f"NVML does not know the device {whole} ({in_words(library, error)}); a slice of a "
                "GPU in MIG mode has no counters of its own."
            ) from None
        text = name.decode() if isinstance(name, bytes) else str(name)
        found.append(NvmlDevice(library, handle, index, text))
    return tuple(found)


def driver(library_name: str = LIBRARY) -> Finding:
    """The NVIDIA driver, through NVML."""
    with nvml(library_name) as library:
        version = driver_version(library)
        if version is None:
            return Finding(
                status="unknown",
                found="NVML starts and does not say the driver's version",
                remedy="check with nvidia-smi",
            )
        return Finding(status="ok", found=f"NVIDIA driver {version}")


def cuda_devices(cuda: Any, version: str, build: str | None) -> Finding:
    """The CUDA devices, their memory and compute capability, and whether torch has code for them.

    Args:
        cuda: `torch.cuda`.
        version: torch's version.
        build: the CUDA version torch was built for, None for a CPU build.
    """
    if not cuda.is_available():
        return _no_device(why_no_cuda(cuda, version, build), build)
    names, foreign = [], []
    architectures = list(cuda.get_arch_list())
    for index in range(cuda.device_count()):
        properties = cuda.get_device_properties(index)
        capability = f"{properties.major}.{properties.minor}"
        names.append(
            f"device {index}: {properties.name}, {size_text(properties.total_memory, 'GiB')}, "
            f"compute capability {capability}"
        )
        if not has_code(architectures, properties.major, properties.minor):
            foreign.append(capability)
    found = "; ".join(names)
    if foreign:
        return Finding(
            status="limited",
            found=f"{found}; torch {version} has no code for {', '.join(sorted(set(foreign)))} "
            f"(it has {' '.join(architectures)})",
            remedy="install a torch build for this GPU (https://pytorch.org/get-started)",
        )
    if len(names) > 1:
        found += "; layerscope runs the model on device 0 (choose with CUDA_VISIBLE_DEVICES)"
    return Finding(status="ok", found=found)


def has_code(architectures: Sequence[str], major: int, minor: int) -> bool:
    """Whether one of torch's architectures (`sm_90`, `compute_90`) runs on a device of this kind.

    Compiled code (`sm`) runs on its own major number from its minor on; `compute` is compiled for
    any later device when loaded.
    """
    for name in architectures:
        kind, _, digits = name.partition("_")
        digits = digits.rstrip("af")  # sm_90a: features of exactly that device
        if not digits.isdigit():
            continue
        built = divmod(int(digits), 10)
        if kind == "compute" and built <= (major, minor):
            return True
        if kind == "sm" and built[0] == major and built[1] <= minor:
            return True
    return False


def _no_device(why: str, build: str | None) -> Finding:
    if build is None:
        return Finding(
            status="missing",
            found=why,
            remedy="on a machine with an NVIDIA GPU install a CUDA build of torch "
            "(https://pytorch.org/get-started)",
        )
    return Finding(
        status="missing",
        found=why,
        remedy="check that nvidia-smi lists a GPU, that the driver is new enough for CUDA "
        f"{build}, that the container was started with --gpus, and that CUDA_VISIBLE_DEVICES "
        "hides none",
    )


def mig(uuids: Sequence[str], library_name: str = LIBRARY) -> Finding:
    """Whether a device is in MIG mode. Nothing is changed."""
    if not uuids:
        return _NOTHING_TO_READ
    sliced = [uuid for uuid in uuids if uuid.startswith("MIG-")]
    whole = [uuid for uuid in uuids if not uuid.startswith("MIG-")]
    with nvml(library_name) as library:
        sliced += [device.name for device in devices(library, whole) if _in_mig_mode(device)]
    if sliced:
        return Finding(
            status="limited",
            found=f"in MIG mode: {', '.join(sliced)}",
            remedy="measure energy on a GPU without MIG; switching it off is the administrator's "
            "decision",
        )
    return Finding(status="ok", found="no device is in MIG mode")


def _in_mig_mode(device: NvmlDevice) -> bool:
    try:
        current, _pending = device.library.nvmlDeviceGetMigMode(device.handle)
    except device.library.NVMLError as error:
        if getattr(error, "value", None) == device.library.NVML_ERROR_NOT_SUPPORTED:
            return False  # a GPU that cannot be divided
        raise EnvironmentProblem(
            f"{device.name}: MIG mode cannot be read ({in_words(device.library, error)})"
        ) from None
    return bool(current)


def clocks(uuids: Sequence[str], clock: Clock, library_name: str = LIBRARY) -> Finding:
    """Clocks, temperature, power limit and throttle reasons as they stand. Nothing is changed."""
    if not uuids:
        return _NOTHING_TO_READ
    with nvml(library_name) as library:
        states = [device.state(clock) for device in devices(library, uuids)]
    found = "; ".join(_state_in_words(state) for state in states)
    slowed = any(set(state.throttle_reasons or ()) - _HARMLESS for state in states)
    if slowed:
        return Finding(
            status="limited",
            found=found,
            remedy="let the GPU cool, stop what else uses it, or raise its power limit if you "
            "administer it; compare only runs made in the same state",
        )
    if any(state.throttle_reasons is None for state in states):
        return Finding(
            status="unknown", found=found, remedy="update the driver: it gives no throttle reasons"
        )
    return Finding(status="ok", found=found)


def _state_in_words(state: DeviceState) -> str:
    parts = [
        _shown("SM clock", state.sm_clock_mhz, "MHz"),
        _shown("memory clock", state.memory_clock_mhz, "MHz"),
        _shown("temperature", state.temperature_c, "C"),
        _shown("power limit", state.power_limit_w, "W"),
    ]
    if state.throttle_reasons is None:
        parts.append("throttle reasons not given")
    else:
        parts.append(f"held back by: {', '.join(state.throttle_reasons) or 'nothing'}")
    return f"{state.device}: {', '.join(parts)}"


def _shown(what: str, value: float | None, unit: str) -> str:
    return f"{what} not given" if value is None else f"{what} {value:g} {unit}"
