"""Readers of what is committed beside the pages: CSV rows, run records and printed screens."""

from __future__ import annotations

import csv
import gzip
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from layerscope.records import RunRecord, load
from published.pages import ROOT

RESULTS = ROOT / "docs" / "results"
Row = dict[str, str]


@cache
def table(path: str) -> tuple[Row, ...]:
    """The rows of a CSV file under docs/results, packed or not."""
    file = RESULTS / path
    content = file.read_bytes()
    text = (gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def row(path: str, **wanted: str) -> Row:
    """The one row with these cells."""
    (found,) = (r for r in table(path) if all(r[k] == v for k, v in wanted.items()))
    return found


def total(rows: tuple[Row, ...] | list[Row], column: str, scale: float = 1.0) -> float:
    """Sum of a column; blank cells hold nothing."""
    return sum(float(r[column] or 0) for r in rows) * scale


@cache
def document(path: str) -> Any:
    """A JSON file under docs/results."""
    return json.loads((RESULTS / path).read_text(encoding="utf-8"))


@cache
def run(folder: str) -> RunRecord:
    """The record of a run whose folder is committed."""
    return load(Path(RESULTS / folder))


@cache
def printed(path: str, pattern: str) -> tuple[str, ...]:
    """The groups of the first match in a text that a program printed."""
    match = re.search(pattern, (RESULTS / path).read_text(encoding="utf-8"))
    assert match is not None, f"{path}: nothing matches {pattern!r}"
    return match.groups()


def layer_rows(folder: str) -> tuple[Row, ...]:
    """`layers.csv` of a run."""
    return table(f"{folder}/layers.csv")
