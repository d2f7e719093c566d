"""A finished training in, the model as the package carries it out: weights, card, log, held-out WER."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

from batches import ANSWERED, SIZES
from card import model_card
from learner import Plan

WEIGHTS = "model.safetensors"


def install(
    work: Path, package: Path, plan: Plan, *, seed: int, params: int, pictures: dict[str, int]
) -> None:
    """Copy the weights and write the card, the log and the held-out table beside them.

    The package's own `config.json` stays: it asks for float32 in memory, whatever the file holds.
    """
    log = [json.loads(line) for line in (work / "log.jsonl").read_text("utf-8").splitlines()]
    held_out = json.loads((work / "held_out.json").read_text("utf-8"))
    shutil.copyfile(work / "model" / WEIGHTS, package / WEIGHTS)
    _write_csv(package / "training_log.csv", log)
    _write_csv(package / "held_out.csv", held_out)
    text = model_card(
        plan,
        seed,
        held_out,
        params=params,
        pictures=pictures,
        minutes=_minutes(log),
        sizes=SIZES,
        shares=ANSWERED,
    )
    (package / "README.md").write_text(text, encoding="utf-8", newline="\n")


def _minutes(log: list[dict[str, Any]]) -> float:
    """Of all steps, the checks between them included, at the pace that the last line gives."""
    last = next(row for row in reversed(log) if "s_per_step" in row)
    return float(last["step"] * last["s_per_step"]) / 60


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """WER by split as columns of their own."""
    found = {name: value for name, value in row.items() if name != "wer"}
    return found | {f"wer {name}": value for name, value in row.get("wer", {}).items()}
