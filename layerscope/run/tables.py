"""An account and a folder in, the folder's table files out; and back: a saved run's account."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from layerscope.account.structure import expected_calls
from layerscope.core.errors import DataError, UsageError
from layerscope.joules.end_to_end_energy import end_to_end_of
from layerscope.joules.layer_energy import LayerEnergy
from layerscope.records import AccountRecord, CountedWork, LayerTable, RunRecord, Whole, load
from layerscope.records.provenance import Provenance, load_provenance
from layerscope.records.run_record import RUN_FILE
from layerscope.records.tables import Account
from layerscope.report.attention import write_attention_csv
from layerscope.report.csv import (
    read_layers_csv,
    write_kernels_csv,
    write_layers_csv,
    write_operators_csv,
    write_steps_csv,
)
from layerscope.report.parquet import write_layers_parquet
from layerscope.runs.examine import Examined, examine
from layerscope.runs.replay_file import REPLAY_FILE, energy_of, read_replay, with_layer_energy
from layerscope.timeline.idle import Idle
from layerscope.work.enrich import with_ceilings_doubted

TRACE_FILE = "trace.json.gz"
LAYERS_FILE = "layers.csv"
WORK_FILE = "work.json"


def write_tables(account: Account, folder: Path) -> dict[str, str]:
    """Write the tables; returns role -> file name."""
    files = {
        "layers": "layers.csv",
        "layers_parquet": "layers.parquet",
        "kernels": "kernels.csv",
        "operators": "operators.csv",
        "steps": "steps.csv",
    }
    write_layers_csv(account.table, folder / files["layers"])
    write_layers_parquet(account.table, folder / files["layers_parquet"])
    write_kernels_csv(account.kernels, folder / files["kernels"])
    write_operators_csv(account.operators, folder / files["operators"])
    write_steps_csv(account.steps, folder / files["steps"])
    if account.attention:
        files["attention"] = "attention.csv"
        write_attention_csv(account.attention, folder / files["attention"])
    return files


def account_record(account: Account, further: tuple[str, ...] = ()) -> AccountRecord:
    """The account's totals and verdict for `run.json`; `further` failures count too."""
    table = account.table
    failures = (*table.failures(), *further)
    return AccountRecord(
        status="failed" if failures else "ok",
        events=table.whole.device_events,
        device_sum_us=_us(table.whole.device_sum_ns),
        device_active_us=_us(table.whole.device_active_ns),
        window_span_us=_us(table.whole.window_span_ns),
        host_window_us=_us(table.whole.host_window_ns),
        device_difference_ns=table.device_difference_ns,
        host_difference_ns=table.host_difference_ns,
        failures=failures,
        notes=table.notes,
    )


@dataclass(frozen=True)
class SavedRun:
    """What the files of a run, or a bare trace, say. `idle` is None without device events."""

    account: Account
    idle: Idle | None
    record: RunRecord | None
    work: CountedWork | None
    failures: tuple[str, ...]  # counted work that does not fit the trace
    layer_energy: LayerEnergy | None = None  # where layers were replayed


def read_account(path: Path) -> Account:
    """The account of a run folder or of any Kineto trace; see `read_saved`."""
    return read_saved(path).account


def read_saved(path: Path, device: str | None = None) -> SavedRun:
    """The account and the idle time of a run folder or of any Kineto trace, from the files alone.

    `device` leaves out the events of all others.

    Raises:
        DataError: no such file, no trace in the folder, or a trace that cannot be read.
        UsageError: no such device in the trace.
    """
    if not path.is_dir():
        return _saved(path, None, None, device)
    trace = path / TRACE_FILE
    if not (path / RUN_FILE).exists():
        raise DataError(f"{path}: no {RUN_FILE} in it, so it is no run folder.")
    record = load(path)
    if trace.exists():
        return _saved(trace, record, read_work(path / WORK_FILE), device, load_provenance(path))
    if device is not None:
        raise UsageError(f"--device {device}: {path} holds no trace, so its events are not known.")
    return _without_trace(path, record)


def _without_trace(folder: Path, record: RunRecord) -> SavedRun:
    """A run whose large trace was thrown away: the layer table as it was written."""
    totals, table = record.account, folder / LAYERS_FILE
    if totals is None or record.trace is None or not table.exists():
        raise DataError(
            f"{folder}: neither {TRACE_FILE} nor {LAYERS_FILE} in it, so there is no account to show."
        )
    rows = read_layers_csv(table)
    replayed = any(row.energy_j is not None for row in rows)
    whole = end_to_end_of(record.energy, record.trace, record.latency) if replayed else None
    saved = LayerTable(
        rows=rows,
        root=record.trace.root,
        whole=Whole(
            device_events=totals.events,
            device_sum_ns=_ns(totals.device_sum_us),
            device_active_ns=_ns(totals.device_active_us),
            window_span_ns=_ns(totals.window_span_us),
            host_window_ns=_ns(totals.host_window_us),
            energy_nj=whole.whole_nj if whole else None,
        ),
        expected_calls=expected_calls(
            record.model.modules, record.trace.decoder_steps, compiled=record.compiled_parts
        ),
        notes=(f"{TRACE_FILE} is not in the folder: the table is read back from {LAYERS_FILE}",),
    )
    account = Account(table=saved, kernels=(), operators=(), steps=(), source=str(table))
    if record.ceilings is not None:
        doubted = with_ceilings_doubted(account, record.ceilings, record.config.fp32_matmul)
        account, record = doubted.account, replace(record, ceilings=doubted.ceilings)
    return SavedRun(account, None, record, read_work(folder / WORK_FILE), ())


def _ns(us: float | None) -> int | None:
    return None if us is None else round(us * 1000)


def _saved(
    trace: Path,
    record: RunRecord | None,
    work: CountedWork | None,
    device: str | None = None,
    provenance: Provenance | None = None,
) -> SavedRun:
    by_layer = None
    if record is None:
        found = examine(trace, device=device)
    else:
        found = examine(
            trace,
            record.model.modules,
            record.trace.decoder_steps if record.trace else None,
            work,
            record.ceilings,
            record.config.fp32_matmul,
            record.compiled_parts,
            device,
            provenance,
        )
        record = replace(record, ceilings=found.ceilings)
        if device is None:
            found, by_layer = _with_replay(found, record, trace.parent)
    return SavedRun(found.account, found.idle, record, work, found.failures, by_layer)


def _with_replay(
    found: Examined, record: RunRecord, folder: Path
) -> tuple[Examined, LayerEnergy | None]:
    """The joules of replayed layers, from their raw windows."""
    replay = read_replay(folder / REPLAY_FILE)
    if replay is None or record.trace is None:
        return found, None
    by_layer = energy_of(
        found, replay, record.energy, record.trace, record.latency, record.compiled_parts
    )
    return with_layer_energy(found, by_layer), by_layer


def write_work(work: CountedWork, folder: Path) -> dict[str, str]:
    """Write the counted work beside the tables: the account is made again from it."""
    (folder / WORK_FILE).write_bytes(msgspec.json.encode(work) + b"\n")
    return {"work": WORK_FILE}


def read_work(path: Path) -> CountedWork | None:
    """The counted work of a run; None where the run counted none.

    Raises:
        DataError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=CountedWork)
    except (msgspec.DecodeError, OSError) as error:
        raise DataError(f"{path}: not a count of work ({error}).") from None


def _us(ns: int | None) -> float | None:
    return None if ns is None else round(ns / 1000, 3)
