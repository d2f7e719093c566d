"""The device that holds the model in; its energy counters, what reads its state, and a work out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from layerscope.measure.clock import Clock
from layerscope.measure.energy import nvml, rapl
from layerscope.measure.energy.meter import Meter
from layerscope.measure.energy.window import BatchDone, Work
from layerscope.measure.latency import synchronize
from layerscope.passes.session import Session
from layerscope.records import DeviceState, EnergyAbsent
from layerscope.workload.batching import Batch


@dataclass(frozen=True)
class Meters:
    """Counters of a device, or why there are none.

    Attributes:
        states: reads what the device says of itself; None where it says nothing.
        driver: its version; None on a CPU.
    """

    meters: Sequence[Meter] | EnergyAbsent
    states: Callable[[], Sequence[DeviceState]] | None = None
    driver: Callable[[], str | None] = lambda: None


@contextmanager
def meters_of(device: str, clock: Clock) -> Iterator[Meters]:
    """The counters of the model's device; NVML is closed at the end."""
    if device == "cpu":
        yield Meters(rapl.find_domains())
        return
    devices = nvml.open_devices(device_uuids())
    if isinstance(devices, EnergyAbsent):
        yield Meters(devices)
        return
    library = devices[0].library

    def states() -> list[DeviceState]:
        return [device.state(clock) for device in devices]

    try:
        yield Meters(devices, states, lambda: nvml.driver_version(library))
    finally:
        nvml.close(library)


def device_uuids() -> list[str]:
    """UUIDs of the CUDA device that holds the model, as NVML knows it."""
    return [str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)]


def batch_work(session: Session, batch: Batch, new_tokens: int) -> Work:
    """One whole batch, inputs already on the device, synchronised when it returns.

    Args:
        new_tokens: that it gave when its latency was measured, all samples together.
    """
    generator, inputs = session.generator, session.inputs(batch)

    def work() -> BatchDone:
        generator(inputs)
        synchronize(session.config.device)
        return BatchDone(
            batch=batch.record.index, samples=len(batch.samples), new_tokens=new_tokens
        )

    return work
