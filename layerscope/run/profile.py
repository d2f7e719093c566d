"""A resolved configuration in, a finished run folder out: load, measure, trace, count, account."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from layerscope.config.resolve import Resolved
from layerscope.core.errors import EnvironmentProblem
from layerscope.core.files import RUN_FILE, TRACE_FILE
from layerscope.core.progress import Progress
from layerscope.core.run_name import run_name
from layerscope.instrument.cupti import NO_DEVICE_EVENTS
from layerscope.instrument.environment import read_environment
from layerscope.joules.layer_energy import LayerEnergy
from layerscope.measure.ceilings import Board, ceilings_for, keep_raised
from layerscope.records import (
    Account,
    AccountRecord,
    Ceilings,
    CountedWork,
    Environment,
    ModelRecord,
    Prediction,
    Quality,
    RunConfig,
    RunRecord,
    TracePass,
    WorkloadRecord,
    save,
)
from layerscope.records.finding import Findings
from layerscope.records.optimization import OptimizationRecord
from layerscope.records.provenance import Provenance, save_provenance
from layerscope.report.figures import write_figures
from layerscope.report.power import write_power_csv
from layerscope.report.predictions import write_predictions_csv
from layerscope.report.tb_profiler import write_tb_profiler
from layerscope.report.tensorboard import write_events
from layerscope.run.energy import EnergyResult, measure_run_energy
from layerscope.run.headline import headline
from layerscope.run.layer_energy import Replay
from layerscope.run.load import Announce, Load, Ready, load_for
from layerscope.run.optimized import (
    CompiledModel,
    compiled_model,
    optimization_record,
)
from layerscope.run.passes import Counted, Measured, Passes, Traced
from layerscope.run.quality import score_run
from layerscope.runs.examine import Beside, Examined, examine, workings_of
from layerscope.runs.export import class_names, tb_profiler_name
from layerscope.runs.judge import findings_of, write_findings
from layerscope.runs.replay_file import energy_of, with_layer_energy, write_layer_energy
from layerscope.scores.wer import rows as prediction_rows
from layerscope.workload.data.catalogue import open_samples
from layerscope.workload.data.sample import SampleSource
from layerscope.workload.generation import Generator
from layerscope.workload.model import load_model
from layerscope.write.folder import RunFolder
from layerscope.write.tables import account_record, write_tables, write_work


@dataclass(frozen=True)
class FinishedRun:
    """A run whose folder has its final name. `account` is None for a run without a trace."""

    record: RunRecord
    account: Account | None
    findings: Findings | None
    work: CountedWork
    folder: Path
    layer_energy: LayerEnergy | None = None


def profile(
    resolved: Resolved,
    progress: Progress,
    announce: Announce,
    *,
    load: Load = load_model,
    folder: RunFolder | None = None,
    step: int | None = None,
) -> FinishedRun:
    """Run one configuration and write its folder.

    An account that does not add up is no exception here: the folder is kept, its record says
    `failed`, and the caller decides how to end.

    Args:
        resolved: the configuration.
        progress: told of every pass.
        announce: takes one line at a time about what is about to happen (a download, its size).
        load: yields the model; called after what can be refused without it.
        folder: that the run is written to; None: one in the configuration's `out`, which the record
            names in any case, with a name made from the time and the configuration.
        step: of a sweep's cell, its place on the sweep's axis, in TensorBoard. A cell does without
            figures and without the file for torch-tb-profiler: that plugin starts a process for every
            such file when TensorBoard starts. None: a run of its own.

    Raises:
        LayerscopeError: bad input, a missing device, a model or data that cannot be loaded, a disk
            that cannot be written. Nothing is left behind then.
    """
    created = datetime.now(UTC).replace(microsecond=0)  # as the record keeps it
    if folder is None:
        folder = RunFolder(Path(resolved.config.out), run_name(resolved.config, created))
    with folder as made:
        run = _Run(resolved, progress, announce, made.path, load, step)
        finished = run.execute(made.name, created)
    return dataclasses.replace(finished, folder=made.path)


@dataclass(frozen=True, kw_only=True)
class _Passed:
    """What the passes left, before it is accounted for."""

    ready: Ready
    environment: Environment
    generator: Generator
    measured: Measured
    energy: EnergyResult
    predictions: tuple[Prediction, ...]
    quality: Quality
    quality_by_form: dict[str, Quality]
    traced: Traced | None
    counted: Counted
    optimization: OptimizationRecord | None
    ceilings: Ceilings | None
    provenance: Provenance | None

    @property
    def regions(self) -> tuple[str, ...]:
        """FQNs of the parts that ran compiled."""
        return tuple(part.part for part in self.optimization.parts) if self.optimization else ()


@dataclass(frozen=True)
class _Accounted:
    """What the account made of the trace; a run without a trace has none of it."""

    examined: Examined | None = None
    verdict: AccountRecord | None = None
    ceilings: Ceilings | None = None
    layer_energy: LayerEnergy | None = None


class _Run:
    """One run's passes in order, writing into one folder."""

    def __init__(
        self,
        resolved: Resolved,
        progress: Progress,
        announce: Announce,
        folder: Path,
        load: Load,
        step: int | None,
    ) -> None:
        self._single = step is None
        self._step = step or 0
        self._resolved = resolved
        self._progress = progress
        self._announce = announce
        self._folder = folder
        self._load = load
        self._files = {"record": RUN_FILE}
        self._unmeasured: tuple[str, ...] = ()

    def execute(self, name: str, created: datetime) -> FinishedRun:
        torch.set_float32_matmul_precision(self._resolved.config.fp32_matmul)
        source = open_samples(self._resolved.config)
        ready = load_for(self._resolved, self._progress, self._announce, self._load)
        with compiled_model(
            ready.model.model,
            ready.config.optimization,
            tuned=ready.config.coordinate_descent_tuning,
        ) as compiled:
            return self._measured(ready, compiled, source, name, created)

    def _measured(
        self,
        ready: Ready,
        compiled: CompiledModel | None,
        source: SampleSource,
        name: str,
        created: datetime,
    ) -> FinishedRun:
        passed = self._passed(ready, compiled, source)
        accounted = self._account(passed, created)
        record = self._record(passed, accounted, source, name, created)
        return self._written(record, passed, accounted)

    def _passed(
        self, ready: Ready, compiled: CompiledModel | None, source: SampleSource
    ) -> _Passed:
        """All that needs the model, but for the replay, which needs the account."""
        loaded, config = ready.model, ready.config
        environment = read_environment(cuda=config.device == "cuda")
        passes = Passes(config, loaded, self._progress, compiled)
        measured = passes.measure(source)
        energy = measure_run_energy(config, passes.generator, measured.kept, self._progress)
        predictions = passes.predictions(measured.batches)
        quality, by_form = score_run(config, loaded.record, predictions)
        traced: Traced | None = None
        if config.trace:
            traced = passes.trace(measured.batches[0], self._folder / TRACE_FILE)
            self._files["trace"] = TRACE_FILE
        counted = passes.count(measured.batches[0])
        optimization = optimization_record(
            config.optimization,
            compiled.parts if compiled is not None else None,
            passes.against_eager(measured.batches),
        )
        ceilings = self._ceilings(config, environment) if config.trace else None
        provenance = compiled.provenance() if compiled is not None else None
        if provenance is not None:
            self._files |= save_provenance(provenance, self._folder)
        return _Passed(
            ready=ready,
            environment=environment,
            generator=passes.generator,
            measured=measured,
            energy=energy,
            predictions=predictions,
            quality=quality,
            quality_by_form=by_form,
            traced=traced,
            counted=counted,
            optimization=optimization,
            ceilings=ceilings,
            provenance=provenance,
        )

    def _account(self, passed: _Passed, created: datetime) -> _Accounted:
        """Account for the trace, replay layers where asked for, and write the tables."""
        if passed.traced is None:
            return _Accounted()
        config, model = passed.ready.config, passed.ready.model.record
        examined = self._examine(passed, passed.traced.record)
        ceilings = self._raised(passed.ceilings, examined.ceilings)
        examined, by_layer = self._replay(examined, passed, passed.traced.record)
        unseen = _unseen(config.device, examined.account)
        failures = (*passed.traced.failures, *passed.counted.failures)
        verdict = account_record(examined.account, (*failures, *examined.failures, *unseen))
        self._files |= write_tables(examined.account, self._folder)
        self._files |= self._derive(examined, model, created)
        return _Accounted(examined, verdict, ceilings, by_layer)

    def _record(
        self,
        passed: _Passed,
        accounted: _Accounted,
        source: SampleSource,
        name: str,
        created: datetime,
    ) -> RunRecord:
        config, measured, energy = passed.ready.config, passed.measured, passed.energy.record
        return RunRecord(
            name=name,
            created_utc=created.isoformat(timespec="seconds"),
            choices=passed.ready.choices,
            config=config,
            environment=passed.environment,
            model=passed.ready.model.record,
            workload=_workload(source, measured),
            latency=measured.latency,
            latency_stopped=measured.stopped,
            first_token=measured.first_token,
            first_call_us=measured.first_call_us,
            energy=energy,
            predictions=passed.predictions,
            quality=passed.quality,
            quality_by_answer_form=passed.quality_by_form,
            trace=passed.traced.record if passed.traced else None,
            account=accounted.verdict,
            ceilings=accounted.ceilings,
            memory=passed.counted.memory,
            optimization=passed.optimization,
            report=headline(config, measured.latency, energy, passed.quality, passed.counted.work),
            warnings=(*_warnings(source), *self._unmeasured),
        )

    def _written(self, record: RunRecord, passed: _Passed, accounted: _Accounted) -> FinishedRun:
        """Write what is left: work, answers, power, findings, figures, TensorBoard, the record."""
        work, power = passed.counted.work, passed.energy.power
        self._files |= write_work(work, self._folder)
        if passed.predictions:
            rows = prediction_rows(passed.predictions, normalisation=record.config.normalisation)
            scored = passed.quality.reason is None
            self._files |= write_predictions_csv(rows, self._folder, scored=scored)
        if power:
            self._files |= write_power_csv(power, self._folder)
        seen = self._judge(record, accounted.examined, accounted.layer_energy)
        account = accounted.examined.account if accounted.examined else None
        events = write_events(
            self._folder, record, account, power, step=self._step, in_sweep=not self._single
        )
        self._files["tensorboard"] = events.name
        record = dataclasses.replace(record, files=dict(self._files))
        save(record, self._folder / RUN_FILE)
        return FinishedRun(record, account, seen, work, self._folder, accounted.layer_energy)

    def _replay(
        self, examined: Examined, passed: _Passed, trace: TracePass
    ) -> tuple[Examined, LayerEnergy | None]:
        """Replay layers, where asked for, and lay their joules over the account."""
        measured, energy, regions = passed.measured, passed.energy.record, passed.regions
        replay = Replay(passed.ready.config, passed.ready.model, passed.generator, measured, trace)
        raw = replay.run(examined, energy, self._progress, regions)
        if raw is None:
            return examined, None
        found = energy_of(examined, raw, energy, trace, measured.latency, regions)
        self._files |= write_layer_energy(raw, found, self._folder)
        return with_layer_energy(examined, found), found

    def _ceilings(self, config: RunConfig, environment: Environment) -> Ceilings | None:
        """None, with a warning, where the device has no room left to measure in."""
        with self._progress.task("ceilings of this device", 1) as advance:
            try:
                board = Board(environment.driver, environment.gpu_power_limit_w)
                return ceilings_for(torch.device(config.device), board)
            except EnvironmentProblem as problem:
                self._unmeasured = (str(problem),)
                return None
            finally:
                advance(1)

    def _raised(self, given: Ceilings | None, left: Ceilings | None) -> Ceilings | None:
        """What the account left of the ceilings; the next run is to know of those that it raised."""
        if given is not None and left is not None and left.raised != given.raised:
            keep_raised(left, given.rates())
        return left

    def _examine(self, passed: _Passed, traced: TracePass) -> Examined:
        with self._progress.task("account", 1) as advance:
            trace = self._folder / TRACE_FILE
            beside = Beside(
                modules=passed.ready.model.record.modules,
                roles=passed.ready.model.record.roles,
                steps=traced.decoder_steps,
                work=passed.counted.work,
                ceilings=passed.ceilings,
                fp32_matmul=passed.ready.config.fp32_matmul,
                compiled=passed.regions,
                provenance=passed.provenance,
            )
            examined = examine(workings_of(trace, beside), trace, beside)
            advance(1)
        return examined

    def _derive(self, examined: Examined, model: ModelRecord, created: datetime) -> dict[str, str]:
        """The trace once more, as torch-tb-profiler reads it."""
        if not self._single:
            return {}
        with self._progress.task("trace for torch-tb-profiler", 1) as advance:
            path = self._folder / tb_profiler_name(created)
            trace = self._folder / TRACE_FILE
            write_tb_profiler(trace, examined.workings, class_names(model.modules), path)
            advance(1)
        return {"tb_profiler": path.name}

    def _judge(
        self, record: RunRecord, examined: Examined | None, by_layer: LayerEnergy | None
    ) -> Findings | None:
        """Findings and figures; both stand on the account, so a run without a trace has none."""
        if examined is None:
            return None
        with self._progress.task("findings and figures", 1) as advance:
            seen = findings_of(examined.account, examined.idle, record, by_layer)
            self._files |= write_findings(seen, self._folder)
            if self._single:
                drawn = write_figures(
                    examined.account,
                    self._folder,
                    idle=examined.idle,
                    ceilings=record.ceilings,
                    name=record.name,
                    layer_energy=by_layer,
                )
                self._files |= drawn.files
            advance(1)
        return seen


def _unseen(device: str, account: Account) -> tuple[str, ...]:
    """The failure of a run on a device that its trace does not show."""
    if device == "cuda" and not account.table.whole.device_events:
        return (NO_DEVICE_EVENTS,)
    return ()


def _workload(source: SampleSource, measured: Measured) -> WorkloadRecord:
    return WorkloadRecord(
        dataset=source.name,
        synthetic=source.synthetic,
        source=source.source,
        prompt=source.prompt,
        revision=source.revision,
        batches=tuple(item.batch.record for item in measured.batches),
        skipped=tuple(source.skipped),
    )


def _warnings(source: SampleSource) -> tuple[str, ...]:
    if not source.skipped:
        return ()
    return (f"{len(source.skipped)} broken samples skipped: {'; '.join(source.skipped[:3])}",)
