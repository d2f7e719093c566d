"""Scored predictions in, `predictions.csv` out: one line per sample."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from layerscope.core.files import PREDICTIONS_FILE
from layerscope.records import PredictionScore
from layerscope.report.csv_lines import write_csv

_HEADER = (
    "sample_id",
    "batch",
    "prompt",
    "prediction",
    "references",
    "wer",
    "errors",
    "reference_words",
    "exact",
)


def write_predictions_csv(
    scores: Iterable[PredictionScore], folder: Path, *, scored: bool
) -> dict[str, str]:
    """Write the file; returns role -> file name. References are a JSON list.

    Args:
        scored: False leaves the score cells blank: the answers mean nothing.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    write_csv(
        folder / PREDICTIONS_FILE, _HEADER, (_cells(score, scored=scored) for score in scores)
    )
    return {"predictions": PREDICTIONS_FILE}


def _cells(score: PredictionScore, *, scored: bool) -> list[str]:
    texts = [
        score.sample_id,
        str(score.batch),
        score.prompt,
        score.prediction,
        json.dumps(score.references, ensure_ascii=False),
    ]
    if not scored:
        return [*texts, "", "", "", ""]
    wer = "" if score.wer is None else f"{score.wer:.6f}"
    return [*texts, wer, str(score.errors), str(score.reference_words), str(int(score.exact))]
