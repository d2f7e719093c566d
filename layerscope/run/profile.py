"""A resolved configuration in, a finished run folder out: load, warm up, measure, trace, account."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch

from layerscope.analysis.account import account_of
from layerscope.config.resolve import Resolved
from layerscope.instrument.environment import read_environment
from layerscope.measure.latency import TimedBatch
from layerscope.records import (
    AccountRecord,
    Report,
    Reported,
    RunConfig,
    RunRecord,
    TracePass,
    WorkloadRecord,
    save,
)
from layerscope.records.run_record import RUN_FILE
from layerscope.records.tables import Account
from layerscope.report.progress import ProgressReporter
from layerscope.report.tensorboard import write_events
from layerscope.run.folder import RunFolder, run_name
from layerscope.run.passes import Passes
from layerscope.run.tables import TRACE_FILE, account_record, write_tables
from layerscope.workload.data.catalogue import open_samples
from layerscope.workload.data.sample import SampleSource
from layerscope.workload.model import LoadedModel, load_model


@dataclass(frozen=True)
class FinishedRun:
    """A run whose folder has its final name. `account` is None for a run without a trace."""

    record: RunRecord
    account: Account | None
    folder: Path


def profile(
    resolved: Resolved, progress: ProgressReporter, announce: Callable[[str], None]
) -> FinishedRun:
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
    config = resolved.config
    torch.set_float32_matmul_precision(config.fp32_matmul)
    created = datetime.now(UTC)
    with RunFolder(Path(config.out), run_name(config, created)) as folder:
        source = open_samples(config)
        with progress.task(f"load {config.model}", 1) as advance:
            loaded = load_model(config, announce)
            advance(1)
        config, forced = _forced_length(config, loaded)
        passes = Passes(config, loaded, progress)
        timed = passes.measure(source)
        measured = [item for item in timed if not item.sample.warmup]
        account: Account | None = None
        verdict: AccountRecord | None = None
        traced: TracePass | None = None
        files = {"record": RUN_FILE}
        if config.trace:
            result = passes.trace(measured[0], folder.path / TRACE_FILE)
            traced = result.record
            with progress.task("account", 1) as advance:
                account = account_of(
                    folder.path / TRACE_FILE, loaded.record.modules, traced.decoder_steps
                )
                verdict = account_record(account, result.failures)
                advance(1)
            files |= {"trace": TRACE_FILE, **write_tables(account, folder.path)}
        record = RunRecord(
            name=folder.name,
            created_utc=created.isoformat(timespec="seconds"),
            choices=(*resolved.choices, *forced),
            config=config,
            environment=read_environment(cuda=config.device == "cuda"),
            model=loaded.record,
            workload=_workload(source, measured),
            latency=tuple(item.sample for item in timed),
            predictions=passes.predictions(measured),
            trace=traced,
            account=verdict,
            report=_report(config, loaded, timed),
            warnings=_warnings(source),
        )
        files["tensorboard"] = write_events(folder.path, record, account).name
        record = dataclasses.replace(record, files=files)
        save(record, folder.path / RUN_FILE)
    return FinishedRun(record=record, account=account, folder=folder.path)


def _forced_length(config: RunConfig, loaded: LoadedModel) -> tuple[RunConfig, tuple[str, ...]]:
    """Untrained weights end anywhere, so their output length is forced: runs stay comparable."""
    if loaded.record.trained or config.min_new_tokens == config.max_new_tokens:
        return config, ()
    forced = dataclasses.replace(config, min_new_tokens=config.max_new_tokens)
    why = f"{config.max_new_tokens} new tokens forced: the weights are not trained"
    return forced, (why,)


def _workload(source: SampleSource, measured: Sequence[TimedBatch]) -> WorkloadRecord:
    return WorkloadRecord(
        dataset=source.name,
        synthetic=source.synthetic,
        source=source.source,
        prompt=source.prompt,
        batches=tuple(item.batch.record for item in measured),
        skipped=tuple(source.skipped),
    )


def _warnings(source: SampleSource) -> tuple[str, ...]:
    return (f"{len(source.skipped)} broken samples skipped",) if source.skipped else ()


def _report(config: RunConfig, loaded: LoadedModel, timed: Sequence[TimedBatch]) -> Report:
    full = [t.sample.generate_ns for t in timed if t.sample.full and not t.sample.warmup]
    untrained = f"the weights are {loaded.record.weights}, so answers mean nothing"
    return Report(
        wer_value=Reported(
            value=None,
            unit="fraction",
            definition="corpus word error rate against the first reference",
            reason="not measured" if loaded.record.trained else untrained,
        ),
        latency=Reported(
            value=median(full) / 1e9,
            unit="s/batch",
            definition=(
                f"generate() per batch of {config.batch_size}, unprofiled, median of {len(full)} "
                "full batches; preprocessing and copy to the device not included"
            ),
        ),
        energy=Reported(
            value=None, unit="J/sample", definition="energy per sample", reason="not measured"
        ),
        flops=Reported(
            value=None,
            unit="FLOP/batch",
            definition="2 per multiply-accumulate, one full batch",
            reason="not counted",
        ),
    )
