"""What a run found and a folder in, the folder's table files out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from layerscope.core.files import WORK_FILE, write_json
from layerscope.records import AccountRecord, CountedWork, PowerSample, Prediction, Quality
from layerscope.records.tables import Account
from layerscope.report.memory import write_memory_csv
from layerscope.report.power import write_power_csv
from layerscope.report.predictions import write_predictions_csv
from layerscope.report.table_files import write_tables
from layerscope.scores.wer import rows

# One of the tables a run's folder gets; it stands with what reading a run makes again.
__all__ = ["account_record", "write_answers", "write_power", "write_tables", "write_work"]


def write_work(work: CountedWork, folder: Path) -> dict[str, str]:
    """Write the counted work beside the tables, from which the account is made again, and its memory."""
    write_json(folder / WORK_FILE, work, indented=False)
    return {"work": WORK_FILE, **write_memory_csv(work, folder)}


def write_answers(
    predictions: Sequence[Prediction], quality: Quality, folder: Path
) -> dict[str, str]:
    """Write `predictions.csv`, scored where the answers mean something; returns role -> file name."""
    scores = rows(predictions, normalisation=quality.normalisation)
    return write_predictions_csv(scores, folder, scored=quality.reason is None)


def write_power(power: Sequence[PowerSample], folder: Path) -> dict[str, str]:
    """Write `power.csv`; returns role -> file name."""
    return write_power_csv(power, folder)


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


def _us(ns: int | None) -> float | None:
    return None if ns is None else round(ns / 1000, 3)
