"""A run in, the files that TensorBoard and torch-tb-profiler read out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from layerscope.account.account import Workings
from layerscope.core.files import TRACE_FILE
from layerscope.records import Account, ModuleRecord, PowerSample, RunRecord
from layerscope.report.tb_profiler import write_tb_profiler
from layerscope.report.tensorboard import write_events
from layerscope.runs.export import class_names, tb_profiler_name


def write_trace_for_plugin(
    workings: Workings, modules: Sequence[ModuleRecord], created: datetime, folder: Path
) -> dict[str, str]:
    """Write the folder's trace for torch-tb-profiler; returns role -> file name."""
    name = tb_profiler_name(created)
    write_tb_profiler(folder / TRACE_FILE, workings, class_names(modules), folder / name)
    return {"tb_profiler": name}


def write_run_events(
    folder: Path,
    record: RunRecord,
    account: Account | None,
    power: Sequence[PowerSample],
    step: int | None,
) -> dict[str, str]:
    """Write the event file; returns role -> file name.

    Args:
        step: of a sweep's cell; None: a run of its own.
    """
    events = write_events(folder, record, account, power, step=step or 0, in_sweep=step is not None)
    return {"tensorboard": events.name}
