"""A model in, the energy counters of what holds it, or why there are none, out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from statistics import median

import torch

from layerscope.measure.clock import Clock
from layerscope.measure.energy import nvml, rapl
from layerscope.measure.energy.meter import Meter, MeterLost
from layerscope.measure.machine_load import CpuOthers
from layerscope.records.energy_record import EnergyAbsent
from layerscope.run.program.steady import Read

# What opens counters: UUIDs of GPUs in, none of them for a CPU.
OpenMeters = Callable[[Sequence[str]], Sequence[Meter] | EnergyAbsent]
_MOVES = 4
_STEP_TIMEOUT_S = 1.0
_POLL_S = 0.001


def uuids_of(model: torch.nn.Module) -> list[str]:
    """UUIDs of the GPUs that hold the model, as NVML knows them; none for a CPU."""
    tensors = (*model.parameters(), *model.buffers())
    places = sorted({tensor.device.index or 0 for tensor in tensors if tensor.is_cuda})
    return [str(torch.cuda.get_device_properties(place).uuid) for place in places]


def open_meters(uuids: Sequence[str]) -> Sequence[Meter] | EnergyAbsent:
    """Counters of these GPUs, or of this machine's processors."""
    return nvml.open_devices(uuids) if uuids else rapl.find_domains()


def close_meters(meters: Sequence[Meter]) -> None:
    """Shut NVML down, where they are its."""
    for meter in meters[:1]:
        if isinstance(meter, nvml.NvmlDevice):
            nvml.close(meter.library)


def read_of(meters: Sequence[Meter]) -> Read:
    """What is read at the borders of calls, and who else may be in it, from now on."""
    boards = [meter for meter in meters if isinstance(meter, nvml.NvmlDevice)]
    return Read(meters=meters, others=(lambda: _on_boards(boards)) if boards else CpuOthers())


def _on_boards(boards: Sequence[nvml.NvmlDevice]) -> str | None:
    """Who else computes there; a container may be shown no process at all, not even this one."""
    running = [(board.name, board.compute_processes()) for board in boards]
    for name, count in running:
        if count is not None and count > 1:
            return f"{count} processes compute on {name}; the counter has the joules of all"
    return "" if all(count for _, count in running) else None


def step_of(meters: Sequence[Meter], clock: Clock) -> float | None:
    """Seconds between two moves of the slowest counter; None where one does not move.

    Waits for a few moves, at rest, a second a counter at most.
    """
    steps = [_step_of(meter, clock) for meter in meters]
    known = [step for step in steps if step is not None]
    return max(known) if known and len(known) == len(steps) else None


def _step_of(meter: Meter, clock: Clock) -> float | None:
    until = clock.monotonic_ns() + _STEP_TIMEOUT_S * 1e9
    moves: list[int] = []
    try:
        last = meter.read_j()
        while len(moves) < _MOVES and clock.monotonic_ns() < until:
            clock.sleep(_POLL_S)
            joules = meter.read_j()
            if joules != last:
                moves.append(clock.monotonic_ns())
                last = joules
    except MeterLost:
        return None
    spans = [second - first for first, second in itertools.pairwise(moves)]
    return median(spans) / 1e9 if spans else None
