"""A run whose large trace was thrown away in, its account as the layer table has it out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from layerscope.account.structure import expected_calls
from layerscope.core.errors import DataError
from layerscope.core.files import LAYERS_FILE, TRACE_FILE
from layerscope.core.folder_file import is_there
from layerscope.joules.end_to_end_energy import end_to_end_of
from layerscope.records import LayerTable, RunRecord, Whole
from layerscope.records.seal import hash_of
from layerscope.records.tables import Account
from layerscope.report.csv import read_layers_csv
from layerscope.work.enrich import with_ceilings_doubted


def account_of_table(folder: Path, record: RunRecord) -> tuple[Account, RunRecord]:
    """The layer table as it was written, and the record with its ceilings doubted.

    Raises:
        DataError: no such table, or a damaged one.
    """
    totals, table = record.account, folder / LAYERS_FILE
    if totals is None or record.trace is None or not is_there(table):
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
        )
        if record.trace.decoder_steps is not None
        else None,
        notes=(
            f"{TRACE_FILE} is not in the folder: the table is read back from {LAYERS_FILE}",
            *_changed(folder, record),
        ),
    )
    account = Account(table=saved, kernels=(), operators=(), steps=(), source=str(table))
    if record.ceilings is None:
        return account, record
    doubted = with_ceilings_doubted(account, record.ceilings, record.how.fp32_matmul)
    return doubted.account, replace(record, ceilings=doubted.ceilings)


def _changed(folder: Path, record: RunRecord) -> tuple[str, ...]:
    """A warning where the table is not the one that the run wrote."""
    written = record.hashes.get(LAYERS_FILE)
    try:
        if written is None or hash_of(folder, LAYERS_FILE) == written:
            return ()
    except OSError as error:
        raise DataError(f"{folder / LAYERS_FILE}: cannot be read ({error.strerror}).") from None
    return (f"{LAYERS_FILE} was changed since the run was written; see `layerscope verify`",)


def _ns(us: float | None) -> int | None:
    return None if us is None else round(us * 1000)
