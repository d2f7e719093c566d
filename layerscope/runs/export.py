"""A run folder or a trace in, a file for another viewer out: torch-tb-profiler's tab, or Perfetto."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from layerscope.account.account import Workings, work_out, work_out_known
from layerscope.core.errors import DataError
from layerscope.core.vocabulary import layer_name
from layerscope.records import ModuleRecord, RunRecord, load
from layerscope.records.captured import captured_in
from layerscope.records.provenance import load_provenance
from layerscope.records.run_record import RUN_FILE
from layerscope.report import perfetto, tb_profiler
from layerscope.run.tables import TRACE_FILE
from layerscope.trace.columns import read_trace

_WORKER = "layerscope"
# Everything that stands behind a trace's own name, ours and the profiler's.
_ENDINGS = re.compile(r"(\.pt)?(\.perfetto)?(\.trace)?(\.json)?(\.gz)?$")


@dataclass(frozen=True)
class Source:
    """A trace to export. `record` is None for a bare trace.

    Attributes:
        folder: where exports go unless told otherwise.
    """

    trace: Path
    folder: Path
    workings: Workings
    record: RunRecord | None


def read_source(path: Path) -> Source:
    """Read the trace of a run folder, or a trace of its own.

    Raises:
        DataError: no such file, no trace in the folder, or a trace that cannot be read or is empty.
    """
    record, trace, provenance = None, path, None
    if path.is_dir():
        if not (path / RUN_FILE).exists():
            raise DataError(f"{path}: no {RUN_FILE} in it, so it is no run folder.")
        record, trace = load(path), path / TRACE_FILE
        if not trace.exists():
            raise DataError(f"{path}: no {TRACE_FILE} in it, so there is no trace to export.")
        provenance = load_provenance(path)
    columns = read_trace(trace)
    # A trace that has no ranges of ours is exported without layers.
    captured = captured_in(columns.metadata)
    if captured is None:
        workings = work_out(columns, provenance=provenance)
    else:
        workings = work_out_known(columns, provenance=provenance)
    columns = workings.columns
    if not len(columns.spans.name) and not len(columns.device.name):
        raise DataError(
            f"{trace}: neither a host span nor a device event in it; nothing to export."
        )
    return Source(trace, trace.parent, workings, record)


def export_tb_profiler(source: Source, folder: Path) -> tb_profiler.Fed:
    """Write the file for TensorBoard's "PyTorch Profiler" tab; its folder is a run there.

    Raises:
        DataError: the trace cannot be read.
        EnvironmentProblem: the file cannot be written.
    """
    if source.record is not None:
        name = tb_profiler_name(datetime.fromisoformat(source.record.created_utc))
    else:
        written = datetime.fromtimestamp(source.trace.stat().st_mtime, UTC)
        name = tb_profiler_name(written, worker=_stem(source.trace))
    if source.record is not None:
        classes = class_names(source.record.model.modules)
    else:
        captured = captured_in(source.workings.columns.metadata)
        classes = class_names(captured.modules) if captured is not None else {}
    return tb_profiler.write_tb_profiler(source.trace, source.workings, classes, folder / name)


def export_perfetto(source: Source, folder: Path) -> perfetto.Marked:
    """Write the trace with named tracks for Perfetto.

    Raises:
        DataError: the trace cannot be read.
        EnvironmentProblem: the file cannot be written.
    """
    name = _stem(source.trace) + perfetto.SUFFIX
    return perfetto.write_perfetto(source.trace, source.workings, folder / name)


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
