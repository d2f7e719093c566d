"""NVIDIA GPUs as energy meters: device names in, meters (or why there are none) out."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from layerscope.core.errors import EnvironmentProblem
from layerscope.measure.clock import Clock
from layerscope.measure.energy.meter import MeterLost
from layerscope.records.energy_record import DeviceState, EnergyAbsent

LIBRARY = "pynvml"

# Bits of nvmlClocksEventReasons in NVML's reference; idle and "none" are not throttling.
_THROTTLE_BITS = {
    0x2: "application clocks setting",
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clock setting",
}
_WHAT_TO_DO = {
    "NVML_ERROR_LIBRARY_NOT_FOUND": "install the NVIDIA driver (libnvidia-ml.so.1 is missing)",
    "NVML_ERROR_DRIVER_NOT_LOADED": "load the NVIDIA driver",
    "NVML_ERROR_NO_PERMISSION": "ask the administrator for permission to read the GPU's counters",
    "NVML_ERROR_NOT_SUPPORTED": "this GPU has no energy counter (Volta and later have one)",
    "NVML_ERROR_GPU_IS_LOST": "the GPU fell off the bus; reboot",
    "NVML_ERROR_NOT_FOUND": "check the device's UUID with nvidia-smi -L",
}


@dataclass(frozen=True)
class NvmlDevice:
    """One GPU: a meter of its total energy since the driver was loaded, and its present state.

    Attributes:
        library: pynvml, or something with the same functions.
        handle: NVML's handle of the device.
        index: NVML's own index, which CUDA_VISIBLE_DEVICES does not change.
    """

    library: Any
    handle: Any
    index: int
    model: str

    @property
    def name(self) -> str:
        return f"gpu {self.index}"

    @property
    def source(self) -> str:
        return f"nvml total energy counter, device {self.index}: {self.model}"

    @property
    def resolution_j(self) -> float:
        return 0.001

    def read_j(self) -> float:
        """Joules since the driver was loaded.

        Raises:
            MeterLost: NVML does not give the counter.
        """
        try:
            return float(self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle)) / 1000
        except self.library.NVMLError as error:
            raise MeterLost(f"{self.source}: {in_words(self.library, error)}") from None

    def read_power_w(self) -> float:
        """Power as nvidia-smi shows it; newer GPUs average it over up to a second.

        Raises:
            MeterLost: NVML does not give the power.
        """
        try:
            return float(self.library.nvmlDeviceGetPowerUsage(self.handle)) / 1000
        except self.library.NVMLError as error:
            words = in_words(self.library, error)
            raise MeterLost(f"nvml power, device {self.index}: {words}") from None

    def sm_clock_mhz(self) -> int | None:
        """Present SM clock."""
        sm = self.library.NVML_CLOCK_SM
        return self._read(lambda: self.library.nvmlDeviceGetClockInfo(self.handle, sm))

    def temperature_c(self) -> int | None:
        """Present temperature of the GPU die."""
        die = self.library.NVML_TEMPERATURE_GPU
        return self._read(lambda: self.library.nvmlDeviceGetTemperature(self.handle, die))

    def compute_processes(self) -> int | None:
        """How many processes compute on it, this one among them; None where NVML does not tell."""
        return self._read(
            lambda: len(self.library.nvmlDeviceGetComputeRunningProcesses(self.handle))
        )

    def state(self, clock: Clock) -> DeviceState:
        """Temperature, clocks, power limit and throttle reasons now; None where not supported."""
        library, handle = self.library, self.handle
        limit_mw = self._read(lambda: library.nvmlDeviceGetEnforcedPowerLimit(handle))
        memory = library.NVML_CLOCK_MEM
        return DeviceState(
            device=self.name,
            time_ns=clock.monotonic_ns(),
            temperature_c=self.temperature_c(),
            sm_clock_mhz=self.sm_clock_mhz(),
            memory_clock_mhz=self._read(lambda: library.nvmlDeviceGetClockInfo(handle, memory)),
            power_limit_w=None if limit_mw is None else limit_mw / 1000,
            throttle_reasons=self._throttle_reasons(),
        )

    def _throttle_reasons(self) -> tuple[str, ...] | None:
        # Drivers before 535 know the older name only.
        bits = self._read(lambda: self.library.nvmlDeviceGetCurrentClocksEventReasons(self.handle))
        if bits is None:
            bits = self._read(
                lambda: self.library.nvmlDeviceGetCurrentClocksThrottleReasons(self.handle)
            )
        if bits is None:
            return None
        return tuple(words for bit, words in _THROTTLE_BITS.items() if bits & bit)

    def _read(self, call: Callable[[], Any]) -> int | None:
        """An optional reading: None where the device or an old library does not have it."""
        try:
            return int(call())
        except (self.library.NVMLError, AttributeError):
            return None


def load_library(name: str = LIBRARY) -> Any | EnergyAbsent:
    """Import and start NVML, or say why it cannot be. `close` it when done."""
    try:
        library = importlib.import_module(name)
    except ImportError:
        return EnergyAbsent(reason=f"{name} is not installed; run: pip install nvidia-ml-py")
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        return EnergyAbsent(reason=f"NVML does not start: {in_words(library, error)}")
    return library


def close(library: Any) -> None:
    """Shut NVML down. A driver that is gone by then cannot be shut down, which harms nothing."""
    try:
        library.nvmlShutdown()
    except library.NVMLError:
        return


def find_devices(library: Any, identifiers: Sequence[str]) -> tuple[NvmlDevice, ...] | EnergyAbsent:
    """The GPUs with these UUIDs or PCI bus ids, each proven to have an energy counter.

    CUDA's device numbers are not NVML's (CUDA_VISIBLE_DEVICES hides and reorders), hence names.

    Args:
        library: what `load_library` returned.
        identifiers: of the devices that hold the model: a UUID with or without `GPU-` (torch leaves
            it out), or a PCI bus id such as `0000:1B:00.0`. Repeated ones count once.
    """
    devices: list[NvmlDevice] = []
    for identifier in dict.fromkeys(identifiers):
        device = _find(library, identifier)
        if isinstance(device, EnergyAbsent):
            return device
        # One GPU may be named by UUID and by bus id; adding it twice would double its joules.
        if all(device.index != known.index for known in devices):
            devices.append(device)
    if not devices:
        return EnergyAbsent(reason="no GPU holds the model")
    return tuple(devices)


def open_devices(
    identifiers: Sequence[str], library_name: str = LIBRARY
) -> tuple[NvmlDevice, ...] | EnergyAbsent:
    """`load_library` and `find_devices` in one; NVML is closed again when there are none."""
    library = load_library(library_name)
    if isinstance(library, EnergyAbsent):
        return library
    devices = find_devices(library, identifiers)
    if isinstance(devices, EnergyAbsent):
        close(library)
    return devices


def driver_version(library: Any) -> str | None:
    """The NVIDIA driver's version, or None where NVML does not give it."""
    try:
        return _text(library.nvmlSystemGetDriverVersion())
    except library.NVMLError:
        return None


def in_words(library: Any, error: Exception) -> str:
    """NVML's error with what to do about it."""
    code = getattr(error, "value", None)
    for name, remedy in _WHAT_TO_DO.items():
        if code is not None and getattr(library, name, None) == code:
            return f"{error}; {remedy}"
    return str(error)


def _find(library: Any, identifier: str) -> NvmlDevice | EnergyAbsent:
    if identifier.startswith("MIG-"):
        return _mig(identifier)
    try:
        handle = _handle(library, identifier)
        device = NvmlDevice(
            library,
            handle,
            int(library.nvmlDeviceGetIndex(handle)),
            _text(library.nvmlDeviceGetName(handle)),
        )
    except library.NVMLError as error:
        return EnergyAbsent(reason=f"GPU {identifier}: {in_words(library, error)}")
    if _in_mig_mode(library, handle):
        return _mig(f"device {device.index}")
    try:
        device.read_j()
    except EnvironmentProblem as problem:
        return EnergyAbsent(reason=str(problem))
    return device


def _handle(library: Any, identifier: str) -> Any:
    # A UUID has no colon; a PCI bus id (domain:bus:device.function) always has.
    if ":" in identifier:
        return library.nvmlDeviceGetHandleByPciBusId(identifier)
    uuid = identifier if identifier.startswith("GPU-") else f"GPU-{identifier}"
    return library.nvmlDeviceGetHandleByUUID(uuid)


def _in_mig_mode(library: Any, handle: Any) -> bool:
    try:
        current, _pending = library.nvmlDeviceGetMigMode(handle)
    except library.NVMLError:  # a GPU without MIG says "not supported"
        return False
    return bool(current)


def _mig(what: str) -> EnergyAbsent:
    return EnergyAbsent(
        reason=f"{what} is in MIG mode: the energy counter covers the whole GPU, not the slice that "
        "holds the model. Run on a GPU without MIG."
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
