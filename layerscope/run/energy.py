"""Prepared batches and a generator in, the raw energy windows and the power line out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from layerscope.core.progress import Progress
from layerscope.measure.clock import SystemClock
from layerscope.measure.energy import nvml, rapl
from layerscope.measure.energy.energy_pass import measure_energy
from layerscope.measure.energy.meter import Meter
from layerscope.measure.energy.power_line import PowerLine
from layerscope.measure.energy.window import BatchDone, Work
from layerscope.measure.latency import synchronize
from layerscope.records import DeviceState, EnergyAbsent, EnergyRecord, PowerSample, RunConfig
from layerscope.workload.batching import Batch
from layerscope.workload.dtype_layout import torch_dtype
from layerscope.workload.generation import Generator

# Fewer windows give no useful interval; each lasts two seconds and its edges.
MIN_WINDOWS = 5
_POWER_LINE_S = 3.0


@dataclass(frozen=True)
class EnergyResult:
    """Raw windows, and the power over time of a window of its own; `power` is empty on a CPU."""

    record: EnergyRecord
    power: tuple[PowerSample, ...]


def measure_run_energy(
    config: RunConfig, generator: Generator, kept: Sequence[Batch], progress: Progress
) -> EnergyResult:
    """Measure idle power, then windows that repeat one full batch each.

    At least `MIN_WINDOWS` windows; every kept batch has one, so that the mean over batches, the
    reference's form, stands on distinct batches. Absent with its reason where no counter is.
    """
    if config.device == "cpu":
        domains = rapl.find_domains()
        return EnergyResult(_windows(config, generator, kept, domains, None, progress), ())
    uuids = device_uuids()
    devices = nvml.open_devices(uuids)
    try:
        record = _windows(config, generator, kept, devices, devices, progress)
    finally:
        if not isinstance(devices, EnergyAbsent):
            nvml.close(devices[0].library)
    power = _power(config, generator, kept, uuids, progress) if record.reason is None else ()
    return EnergyResult(record, power)


def device_uuids() -> list[str]:
    """UUIDs of the CUDA device that holds the model, as NVML knows it."""
    return [str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)]


def _windows(
    config: RunConfig,
    generator: Generator,
    kept: Sequence[Batch],
    meters: Sequence[Meter] | EnergyAbsent,
    devices: tuple[nvml.NvmlDevice, ...] | EnergyAbsent | None,
    progress: Progress,
) -> EnergyRecord:
    clock = SystemClock()
    count = max(MIN_WINDOWS, len(kept))
    batches = list(itertools.islice(itertools.cycle(kept), count))
    if isinstance(meters, EnergyAbsent):
        return measure_energy(meters, [], clock)
    present = devices if isinstance(devices, tuple) else ()

    def states() -> list[DeviceState]:
        return [device.state(clock) for device in present]

    with progress.task("measure energy, windows", count) as advance:
        works = [_work(config, generator, batch) for batch in batches]
        record = measure_energy(
            meters,
            works,
            clock,
            states=states,
            driver=nvml.driver_version(present[0].library) if present else None,
        )
        advance(len(record.windows))
    return record


def _work(config: RunConfig, generator: Generator, batch: Batch) -> Work:
    """One whole batch, inputs already on the device, synchronised when it returns."""
    inputs = batch.to(config.device, torch_dtype(config.dtype))
    new_tokens = sum(generator.describe(generator(inputs)).new_tokens)

    def work() -> BatchDone:
        generator(inputs)
        synchronize(config.device)
        return BatchDone(
            batch=batch.record.index, samples=len(batch.samples), new_tokens=new_tokens
        )

    return work


def _power(
    config: RunConfig,
    generator: Generator,
    kept: Sequence[Batch],
    uuids: Sequence[str],
    progress: Progress,
) -> tuple[PowerSample, ...]:
    """Power over time in a window of its own, polled by another process."""
    work = _work(config, generator, kept[0])
    with progress.task("record power over time", 1) as advance:
        with PowerLine(uuids) as line:
            began = time.monotonic()
            while line.absent is None and time.monotonic() - began < _POWER_LINE_S:
                work()
        advance(1)
    return line.samples
