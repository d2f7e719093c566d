"""Peak memory between two marks: CUDA's allocator on a GPU, live tensor bytes anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from layerscope.measure.flops.storages import Storages

if TYPE_CHECKING:
    import torch


class MemoryMeter(Protocol):
    """What the layer stack asks of a meter."""

    method: str

    def peak(self) -> int:
        """Highest bytes in use since the last `reset()`."""

    def reset(self) -> None:
        """Start anew from what is in use now."""

    def saw(self, tensor: torch.Tensor) -> None:
        """Take note of a tensor that an operator returned."""


class NoMeter:
    """Measures nothing; `method` is empty."""

    method = ""

    def peak(self) -> int:
        """Nothing was seen."""
        return 0

    def reset(self) -> None:
        """Leave all counters as they are."""

    def saw(self, tensor: torch.Tensor) -> None:
        """Nothing is noted."""


class AllocatorMeter:
    """CUDA's caching allocator: bytes handed out, operators' workspaces included."""

    method = "CUDA allocator, bytes allocated on the devices that hold the model"

    def __init__(self, devices: tuple[torch.device, ...]) -> None:
        self._devices = devices

    def peak(self) -> int:
        """Highest bytes allocated since the last `reset()`, summed over the devices."""
        from torch.cuda import memory

        stats = (memory.memory_stats_as_nested_dict(device) for device in self._devices)
        return sum(int(s["allocated_bytes"]["all"]["peak"]) for s in stats if s)

    def reset(self) -> None:
        """Reset CUDA's own peak counters."""
        import torch

        for device in self._devices:
            torch.cuda.reset_peak_memory_stats(device)

    def saw(self, tensor: torch.Tensor) -> None:
        """Nothing to note: the allocator counts by itself."""


class LiveTensorMeter:
    """Bytes of the storages alive: the model's and those that operators returned.

    Workspaces inside an operator are not seen. Works on any device, `meta` included.
    """

    method = "live tensor bytes; workspaces inside operators are not seen"

    def __init__(self, model: torch.nn.Module) -> None:
        self._live = 0
        self._peak = 0
        self._storages = Storages()
        for tensor in (*model.parameters(), *model.buffers()):
            self.saw(tensor)
        self._peak = self._live

    def peak(self) -> int:
        """Highest live bytes since the last `reset()`."""
        return self._peak

    def reset(self) -> None:
        """Start anew from the bytes alive now."""
        self._peak = self._live

    def saw(self, tensor: torch.Tensor) -> None:
        """Count the tensor's storage until it dies; a storage already known counts once."""
        size = self._storages.first(tensor, self._ended)
        if size is None:
            return
        self._live += size
        self._peak = max(self._peak, self._live)

    def _ended(self, size: int) -> None:
        self._live -= size


def meter_for(model: torch.nn.Module) -> MemoryMeter:
    """The allocator where a CUDA device holds any of the model, live tensors elsewhere."""
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    if devices:
        return AllocatorMeter(tuple(sorted(devices, key=str)))
    return LiveTensorMeter(model)
