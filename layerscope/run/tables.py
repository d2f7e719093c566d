"""An account and a folder in, the folder's table files out; and back: a saved run's account."""

from __future__ import annotations

from pathlib import Path

import msgspec

from layerscope.analysis.account import account_of
from layerscope.analysis.enrich import with_counted_work
from layerscope.errors import DataError
from layerscope.records import AccountRecord, CountedWork, load
from layerscope.records.run_record import RUN_FILE
from layerscope.records.tables import Account
from layerscope.report.csv import (
    write_kernels_csv,
    write_layers_csv,
    write_operators_csv,
    write_steps_csv,
)
from layerscope.report.parquet import write_layers_parquet

TRACE_FILE = "trace.json.gz"
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


def read_account(path: Path) -> Account:
    """The account of a run folder or of any Kineto trace, computed from the files alone.

    Raises:
        DataError: no such file, no trace in the folder, or a trace that cannot be read.
    """
    if not path.is_dir():
        return account_of(path)
    trace = path / TRACE_FILE
    if not (path / RUN_FILE).exists():
        raise DataError(f"{path}: no {RUN_FILE} in it, so it is no run folder.")
    record = load(path)
    if not trace.exists():
        raise DataError(f"{path}: the run has no {TRACE_FILE}, so there is no account to compute.")
    steps = record.trace.decoder_steps if record.trace else None
    account = account_of(trace, record.model.modules, steps)
    work = read_work(path / WORK_FILE)
    if work is None:
        return account
    return with_counted_work(account, work, record.ceilings, record.config.fp32_matmul)


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
