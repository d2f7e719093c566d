"""A resolved configuration in, a finished run folder out: load, measure, trace, count, account."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from layerscope.analysis.account import account_of
from layerscope.analysis.enrich import with_counted_work
from layerscope.config.resolve import Resolved
from layerscope.errors import AccountingError
from layerscope.instrument.environment import read_environment
from layerscope.measure.ceilings import ceilings_for
from layerscope.measure.wer import rows as prediction_rows
from layerscope.records import (
    Account,
    AccountRecord,
    Ceilings,
    CountedWork,
    Environment,
    RunConfig,
    RunRecord,
    TracePass,
    WorkloadRecord,
    save,
)
from layerscope.records.run_record import RUN_FILE
from layerscope.report.power import write_power_csv
from layerscope.report.predictions import write_predictions_csv
from layerscope.report.progress import ProgressReporter
from layerscope.report.tensorboard import write_events
from layerscope.run.energy import measure_run_energy
from layerscope.run.folder import RunFolder, run_name
from layerscope.run.headline import headline
from layerscope.run.passes import Measured, Passes
from layerscope.run.quality import score_run
from layerscope.run.tables import TRACE_FILE, account_record, write_tables, write_work
from layerscope.workload.data.catalogue import open_samples
from layerscope.workload.data.sample import SampleSource
from layerscope.workload.model import LoadedModel, load_model

Announce = Callable[[str], None]


@dataclass(frozen=True)
class FinishedRun:
    """A run whose folder has its final name. `account` is None for a run without a trace."""

    record: RunRecord
    account: Account | None
    folder: Path


def profile(resolved: Resolved, progress: ProgressReporter, announce: Announce) -> FinishedRun:
    """Run one configuration and write its folder.

    An account that does not add up is no exception here: the folder is kept, its record says
    `failed`, and the caller decides how to end.

    Args:
        resolved: the configuration.
        progress: told of every pass.
        announce: takes one line at a time about what is about to happen (a download, its size).

    Raises:
        LayerscopeError: bad input, a missing device, a model or data that cannot be loaded, a disk
            that cannot be written. Nothing is left behind then.
    """
    created = datetime.now(UTC)
    with RunFolder(Path(resolved.config.out), run_name(resolved.config, created)) as folder:
        run = _Run(resolved, progress, announce, folder.path)
        record, account = run.execute(folder.name, created)
    return FinishedRun(record=record, account=account, folder=folder.path)


class _Run:
    """One run's passes in order, writing into one folder."""

    def __init__(
        self, resolved: Resolved, progress: ProgressReporter, announce: Announce, folder: Path
    ) -> None:
        self._resolved = resolved
        self._progress = progress
        self._announce = announce
        self._folder = folder
        self._files = {"record": RUN_FILE}

    def execute(self, name: str, created: datetime) -> tuple[RunRecord, Account | None]:
        torch.set_float32_matmul_precision(self._resolved.config.fp32_matmul)
        source = open_samples(self._resolved.config)
        loaded, config, choices = self._load()
        environment = read_environment(cuda=config.device == "cuda")
        passes = Passes(config, loaded, self._progress)
        measured = passes.measure(source)
        energy = measure_run_energy(config, passes.generator, measured.kept, self._progress)
        predictions = passes.predictions(measured.batches)
        quality, by_form = score_run(config, loaded.record, predictions)
        traced: TracePass | None = None
        failures: tuple[str, ...] = ()
        if config.trace:
            result = passes.trace(measured.batches[0], self._folder / TRACE_FILE)
            traced, failures = result.record, result.failures
            self._files["trace"] = TRACE_FILE
        work, differs = passes.count(measured.batches[0])
        ceilings = self._ceilings(config, environment) if config.trace else None
        account, verdict = self._account(config, loaded, traced, work, ceilings, failures + differs)
        record = RunRecord(
            name=name,
            created_utc=created.isoformat(timespec="seconds"),
            choices=choices,
            config=config,
            environment=environment,
            model=loaded.record,
            workload=_workload(source, measured),
            latency=measured.latency,
            latency_stopped=measured.stopped,
            first_token=measured.first_token,
            first_call_us=measured.first_call_us,
            energy=energy.record,
            predictions=predictions,
            quality=quality,
            quality_by_answer_form=by_form,
            trace=traced,
            account=verdict,
            ceilings=ceilings,
            report=headline(config, measured.latency, energy.record, quality, work),
            warnings=_warnings(source),
        )
        self._files |= write_work(work, self._folder)
        if predictions:
            rows = prediction_rows(predictions, normalisation=config.normalisation)
            self._files |= write_predictions_csv(rows, self._folder, scored=quality.reason is None)
        if energy.power:
            self._files |= write_power_csv(energy.power, self._folder)
        events = write_events(self._folder, record, account, energy.power)
        self._files["tensorboard"] = events.name
        record = dataclasses.replace(record, files=dict(self._files))
        save(record, self._folder / RUN_FILE)
        return record, account

    def _load(self) -> tuple[LoadedModel, RunConfig, tuple[str, ...]]:
        config = self._resolved.config
        with self._progress.task(f"load {config.model}", 1) as advance:
            loaded = load_model(config, self._announce)
            advance(1)
        if loaded.record.trained or config.min_new_tokens == config.max_new_tokens:
            return loaded, config, self._resolved.choices
        # Untrained weights end anywhere: with a forced length, runs stay comparable.
        forced = dataclasses.replace(config, min_new_tokens=config.max_new_tokens)
        why = f"{config.max_new_tokens} new tokens forced: the weights are not trained"
        return loaded, forced, (*self._resolved.choices, why)

    def _ceilings(self, config: RunConfig, environment: Environment) -> Ceilings:
        with self._progress.task("ceilings of this device", 1) as advance:
            found = ceilings_for(torch.device(config.device), driver=environment.driver)
            advance(1)
        return found

    def _account(
        self,
        config: RunConfig,
        loaded: LoadedModel,
        traced: TracePass | None,
        work: CountedWork,
        ceilings: Ceilings | None,
        failures: tuple[str, ...],
    ) -> tuple[Account | None, AccountRecord | None]:
        if traced is None:
            return None, None
        with self._progress.task("account", 1) as advance:
            trace = self._folder / TRACE_FILE
            account = account_of(trace, loaded.record.modules, traced.decoder_steps)
            try:
                account = with_counted_work(account, work, ceilings, config.fp32_matmul)
            except AccountingError as error:
                failures += (str(error),)
            self._files |= write_tables(account, self._folder)
            advance(1)
        return account, account_record(account, failures)


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
    return (f"{len(source.skipped)} broken samples skipped",) if source.skipped else ()
