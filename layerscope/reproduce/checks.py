"""A finished run folder in, what anyone can recompute from its files out: sums and WER."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layerscope.core.files import LAYERS_FILE, PREDICTIONS_FILE
from layerscope.core.folder_file import table_text
from layerscope.records import RunRecord
from layerscope.report.csv import read_layers_csv
from layerscope.report.sums import total_of
from layerscope.scores.normalisation import normalise


@dataclass(frozen=True, kw_only=True)
class CellCheck:
    """One cell's numbers, each beside the same number from another file of the run.

    Attributes:
        difference_ns: sum of `layers.csv` minus the whole that `run.json` states, of device time on a
            GPU, of host time on a CPU; None without an account.
        wer_value: as `run.json` states it.
        wer_jiwer: jiwer's over the texts of `predictions.csv`; None where answers are not scored.
        load_s, host_peak_bytes: of loading the model.
    """

    table: str
    cell: str
    status: str
    difference_ns: int | None
    wer_value: float | None
    wer_jiwer: float | None
    answers: int
    load_s: float | None
    host_peak_bytes: int | None

    @property
    def holds(self) -> bool:
        """Whether every number that both files state is the same."""
        same_wer = self.wer_value is None or (
            self.wer_jiwer is not None and abs(self.wer_value - self.wer_jiwer) < 1e-12
        )
        return self.status == "ok" and self.difference_ns == 0 and same_wer


def check_cell(table: str, cell: str, record: RunRecord, folder: Path) -> CellCheck:
    """Recompute what can be recomputed from the run's files.

    Raises:
        DataError: a file of the run is damaged.
    """
    account, quality = record.account, record.quality
    scored = quality is not None and quality.wer_value is not None
    return CellCheck(
        table=table,
        cell=cell,
        status="no account" if account is None else account.status,
        difference_ns=_difference_ns(record, folder),
        wer_value=quality.wer_value if quality is not None else None,
        wer_jiwer=jiwer_wer(folder / PREDICTIONS_FILE, record.profiled.normalisation)
        if scored
        else None,
        answers=len(record.predictions),
        load_s=record.model.load_s,
        host_peak_bytes=record.model.host_peak_bytes,
    )


def jiwer_wer(predictions: Path, normalisation: str) -> float:
    """jiwer's corpus WER over the file's answers and first references.

    jiwer refuses a reference without words; layerscope counts such an answer's words as errors, and
    so does this.
    """
    import jiwer

    pairs = []
    lost = 0
    with table_text(predictions) as file:
        for row in csv.DictReader(file):
            reference = normalise(json.loads(row["references"])[0], normalisation)
            answer = normalise(row["prediction"], normalisation)
            if reference.split():
                pairs.append((reference, answer))
            else:
                lost += len(answer.split())
    found = jiwer.process_words([one for one, _ in pairs], [other for _, other in pairs])
    errors = found.substitutions + found.deletions + found.insertions + lost
    return float(errors / (found.substitutions + found.deletions + found.hits))


def _difference_ns(record: RunRecord, folder: Path) -> int | None:
    account = record.account
    if account is None or "layers" not in record.files:
        return None
    rows = read_layers_csv(folder / LAYERS_FILE)
    whole_us: float | None
    if account.device_sum_us:
        whole_us, found = account.device_sum_us, total_of(row.gpu_self_ns for row in rows)
    else:
        whole_us, found = account.host_window_us, total_of(row.cpu_self_ns for row in rows)
    return None if found is None or whole_us is None else found - round(whole_us * 1000)


def all_hold(checks: Sequence[CellCheck]) -> bool:
    """Whether there are checks and none failed."""
    return bool(checks) and all(check.holds for check in checks)
