"""A run in, a file for another viewer out: torch-tb-profiler's tab, or Perfetto."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from layerscope.account.workings import Workings, work_out
from layerscope.core.errors import DataError
from layerscope.core.vocabulary import layer_name
from layerscope.records import ModuleRecord, RunRecord
from layerscope.records.captured import captured_in
from layerscope.report import perfetto, tb_profiler
from layerscope.trace.columns import read_trace

if TYPE_CHECKING:
    from layerscope.runs.run import Run

_WORKER = "layerscope"
# Everything that stands behind a trace's own name, ours and the profiler's.
_ENDINGS = re.compile(r"(\.pt)?(\.perfetto)?(\.trace)?(\.json)?(\.gz)?$")


def export_tb_profiler(run: Run, folder: Path) -> tb_profiler.Fed:
    """Write the file for TensorBoard's "PyTorch Profiler" tab; its folder is a run there.

    Raises:
        DataError: no trace, or one that cannot be read or is empty.
        EnvironmentProblem: the file cannot be written.
    """
    trace, workings = refuse_empty(run)
    if workings.source != "ranges":
        # Its own view shows what the trace has of modules, and would show layers of another kind twice.
        workings = work_out(read_trace(trace))
    record = run.written
    if record is not None:
        name = tb_profiler_name(datetime.fromisoformat(record.created_utc))
        classes = class_names(record.model.modules)
    else:
        written = datetime.fromtimestamp(trace.stat().st_mtime, UTC)
        name = tb_profiler_name(written, worker=_stem(trace))
        captured = captured_in(workings.columns.metadata)
        classes = class_names(captured.modules) if captured is not None else {}
    return tb_profiler.write_tb_profiler(trace, workings, classes, folder / name)


def export_perfetto(run: Run, folder: Path) -> perfetto.Marked:
    """Write the trace with named tracks for Perfetto.

    Raises:
        DataError: no trace, or one that cannot be read or is empty.
        EnvironmentProblem: the file cannot be written.
    """
    trace, workings = refuse_empty(run)
    return perfetto.write_perfetto(trace, workings, folder / (_stem(trace) + perfetto.SUFFIX))


def refuse_empty(run: Run) -> tuple[Path, Workings]:
    """The run's trace, read and worked out, where there is anything in it.

    Raises:
        DataError: no trace, or one that cannot be read or is empty.
    """
    workings, trace = run.workings, run.trace
    assert trace is not None
    columns = workings.columns
    if not len(columns.spans.name) and not len(columns.device.name):
        raise DataError(
            f"{trace}: neither a host span nor a device event in it; nothing to export."
        )
    return trace, workings


def tb_profiler_name(created: datetime, worker: str = _WORKER) -> str:
    """`<worker>.<time in ms>.pt.trace.json.gz`, the form by which the plugin knows its files."""
    return f"{worker}.{round(created.timestamp() * 1000)}{tb_profiler.SUFFIX}"


def class_names(modules: Sequence[ModuleRecord]) -> dict[str, str]:
    """FQN to class name."""
    return {layer_name(module.fqn): module.cls for module in modules}


def power_absent(record: RunRecord | None) -> str:
    """Why an exported trace has no counter of power."""
    if record is None:
        return "a trace holds no power"
    if "power" not in record.files:
        return "the run measured no power over time"
    return (
        "power.csv was polled in a window of its own, before the trace and on another clock, so its "
        "samples belong to no moment of this trace"
    )


def _stem(trace: Path) -> str:
    return _ENDINGS.sub("", trace.name).replace(".", "_") or trace.name
