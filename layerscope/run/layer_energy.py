"""The replay pass of a run: a traced batch and the rows of its account in, raw windows out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from layerscope.core.errors import EnvironmentProblem
from layerscope.core.progress import Progress
from layerscope.core.units import size_text
from layerscope.joules.end_to_end_energy import end_to_end_of
from layerscope.measure.clock import SystemClock
from layerscope.measure.energy import nvml, rapl
from layerscope.measure.energy.meter import Meter
from layerscope.measure.latency import synchronize
from layerscope.measure.replay.capture import memory_budget
from layerscope.measure.replay.choose import choose_units
from layerscope.measure.replay.held_unit import (
    HeldUnit,
    Overwriting,
    Stage,
    capture_units,
    cold_units,
)
from layerscope.measure.replay.schedule import Bench, Playable, replay_units
from layerscope.records import (
    DeviceState,
    EnergyAbsent,
    EnergyRecord,
    RunConfig,
)
from layerscope.records.layer_energy import ReplayChoice, ReplayRecord, ReplayUnit, read_choice
from layerscope.records.run_record import TracePass
from layerscope.run.energy import device_uuids
from layerscope.run.passes import Measured
from layerscope.runs.examine import Examined
from layerscope.workload.dtype_layout import torch_dtype
from layerscope.workload.generation import Generator
from layerscope.workload.model import LoadedModel


@dataclass(frozen=True)
class Replay:
    """What the replay pass needs of a run.

    Attributes:
        generator: runs the batch, as it ran when it was traced.
        measured: the unprofiled passes; its first batch is the traced one.
        trace: which batch was traced.
    """

    config: RunConfig
    loaded: LoadedModel
    generator: Generator
    measured: Measured
    trace: TracePass

    def run(
        self,
        examined: Examined,
        energy: EnergyRecord,
        progress: Progress,
        compiled: Sequence[str] = (),
    ) -> ReplayRecord | None:
        """Replay the chosen layers of the traced batch; None where nobody asked for it.

        Args:
            examined: the account of the traced batch: what ran, how often, in which phase.
            energy: of whole batches, whose rest power is the idle power of the layers too.
            compiled: FQNs of the parts that run compiled.
        """
        if self.config.energy_per_layer is None:
            return None
        choice = read_choice(self.config.energy_per_layer)
        whole = end_to_end_of(energy, self.trace, self.measured.latency)
        if whole is None:
            reason = energy.reason or "no energy window of whole batches"
            return ReplayRecord(choice=choice, reason=reason)
        units = choose_units(examined.account.table.rows, choice, compiled)
        if not units:
            return ReplayRecord(choice=choice, reason="no module of the chosen parts did any work")
        with _meters(self.config) as (meters, states):
            if isinstance(meters, EnergyAbsent):
                return ReplayRecord(choice=choice, reason=meters.reason)
            bench = Bench(
                meters=meters,
                clock=SystemClock(),
                synchronize=lambda: synchronize(self.config.device),
                idle_w=whole.idle_w,
                states=states,
            )
            return self._replay(units, choice, bench, progress, compiled)

    def _replay(
        self,
        units: Sequence[ReplayUnit],
        choice: ReplayChoice,
        bench: Bench,
        progress: Progress,
        compiled: Sequence[str],
    ) -> ReplayRecord:
        config = self.config
        inputs = self.measured.batches[0].batch.to(config.device, torch_dtype(config.dtype))
        budget, memory = memory_budget(config.device)
        with progress.task("capture the layers' inputs", 1) as advance:
            try:
                captured = capture_units(
                    units, self.loaded.model, lambda: self.generator(inputs), budget
                )
            except EnvironmentProblem as problem:
                # The measured run is whole without it: no memory for the batch beside its inputs.
                return ReplayRecord(choice=choice, memory=memory, reason=str(problem))
            advance(1)
        stage = Stage(
            model=self.loaded.model,
            device=config.device,
            generate=lambda: self.generator(inputs),
            captured=captured,
            budget_bytes=budget,
            compiled=frozenset(compiled),
        )
        playables: list[Playable] = [HeldUnit(unit, stage) for unit in units]
        for unit in cold_units(units) if choice.cold else ():
            alone = unit.role == "overwrite"
            playables.append(Overwriting(unit, config.device) if alone else HeldUnit(unit, stage))
        with progress.task("replay layers for their energy", 2 * len(playables)) as advance:
            done = replay_units(
                playables, bench, limit_s=config.energy_limit_s, seed=config.seed, advance=advance
            )
        return ReplayRecord(
            choice=choice,
            sources=tuple(meter.source for meter in bench.meters),
            seed=config.seed,
            limit_s=config.energy_limit_s,
            spent_s=done.spent_s,
            memory=f"{size_text(captured.held_bytes, 'MiB')} held of {memory}",
            stopped=done.stopped,
            units=done.units,
            reason=done.lost,
        )


@contextmanager
def _meters(
    config: RunConfig,
) -> Iterator[tuple[Sequence[Meter] | EnergyAbsent, Callable[[], Sequence[DeviceState]] | None]]:
    """The counters of the model's device, and what reads its state; NVML is closed at the end."""
    if config.device == "cpu":
        yield rapl.find_domains(), None
        return
    devices = nvml.open_devices(device_uuids())
    if isinstance(devices, EnergyAbsent):
        yield devices, None
        return
    clock = SystemClock()

    def states() -> list[DeviceState]:
        return [device.state(clock) for device in devices]

    try:
        yield devices, states
    finally:
        nvml.close(devices[0].library)
