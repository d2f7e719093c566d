"""Times by kind of layer in, `kinds.csv` out, and back."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, cast

from layerscope.core.errors import DataError
from layerscope.core.files import KINDS_FILE
from layerscope.core.folder_file import table_text
from layerscope.records.kinds import KindTimes
from layerscope.report.csv_lines import cell_text, write_csv

_FIRST = ("kind", "phase", "layers", "calls", "measure")
_CALLS = ("call_min_ns", "call_median_ns", "call_max_ns")
_BATCH = re.compile(r"trace_(\d+)_ns")
_MEASURES = ("device", "operator")


def write_kinds_csv(kinds: Sequence[KindTimes], folder: Path) -> dict[str, str]:
    """Write `kind,phase,layers,calls,measure,trace_1_ns,…,call_min_ns,call_median_ns,call_max_ns`.

    Returns role -> file name. A kind that a batch did not run took 0 ns there.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    count = len(kinds[0].batch_ns) if kinds else 0
    batches = [f"trace_{number}_ns" for number in range(1, count + 1)]
    rows = (
        [
            *(cell_text(getattr(kind, name)) for name in _FIRST),
            *map(cell_text, kind.batch_ns),
            *(cell_text(getattr(kind, name)) for name in _CALLS),
        ]
        for kind in kinds
    )
    write_csv(folder / KINDS_FILE, [*_FIRST, *batches, *_CALLS], rows)
    return {"kinds": KINDS_FILE}


def read_kinds_csv(path: Path) -> tuple[KindTimes, ...]:
    """Read what `write_kinds_csv` wrote.

    Raises:
        DataError: the file cannot be read, or is no such table.
    """
    try:
        with table_text(path) as file:
            return tuple(_rows(csv.DictReader(file, strict=True)))
    except OSError as error:
        raise DataError(f"{path}: cannot read the kinds ({error.strerror}).") from None
    except (UnicodeDecodeError, csv.Error, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a table of kinds of layers ({error}).") from None


def _rows(reader: csv.DictReader[str]) -> Iterable[KindTimes]:
    batches = [name for name in reader.fieldnames or () if _BATCH.fullmatch(name)]
    if not batches:
        raise ValueError("it has no column trace_1_ns")
    for row in reader:
        if row["measure"] not in _MEASURES:
            raise ValueError(f"measure {row['measure']!r}")
        yield KindTimes(
            kind=row["kind"],
            phase=row["phase"],
            layers=int(row["layers"]),
            calls=int(row["calls"]),
            measure=cast(Literal["device", "operator"], row["measure"]),
            batch_ns=tuple(int(row[name]) for name in batches),
            **{name: int(row[name]) if row[name] else None for name in _CALLS},
        )
