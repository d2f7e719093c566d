"""Rows of a sweep in, `sweep.csv`, `sweep.parquet` and `sweep_layers.csv` out."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from layerscope.core.columns import COLUMNS
from layerscope.core.errors import DataError, EnvironmentProblem
from layerscope.core.files import LAYERS_FILE
from layerscope.core.folder_file import is_there, table_text
from layerscope.core.whole_file import whole_file
from layerscope.records.sweep import SweepRow
from layerscope.report.csv import lines_of_now
from layerscope.report.csv_lines import cell_text, write_csv
from layerscope.report.sweep.columns import columns
from layerscope.stats.sweep_tables import LAYER_KEYS, layer_keys

_ARROW_TYPES = {"text": "string", "integer": "int64", "real": "float64"}


def write_sweep_csv(rows: Sequence[SweepRow], axes: Sequence[str], path: Path) -> None:
    """One line per cell, failed ones included, in the plan's order.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    shown = columns(axes)
    lines = ([cell_text(column.read(row)) for column in shown] for row in rows)
    write_csv(path, [column.name for column in shown], lines)


def write_sweep_parquet(rows: Sequence[SweepRow], axes: Sequence[str], path: Path) -> None:
    """The same table, typed; null is not measured.

    Raises:
        EnvironmentProblem: pyarrow is not installed, or the file cannot be written.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise EnvironmentProblem(
            f"{path}: writing Parquet needs pyarrow, which is not installed; pip install pyarrow."
        ) from None
    shown = columns(axes)
    schema = pyarrow.schema(
        [pyarrow.field(c.name, getattr(pyarrow, _ARROW_TYPES[c.kind])()) for c in shown]
    )
    data = {column.name: [column.read(row) for row in rows] for column in shown}
    try:
        with whole_file(path) as partial:
            pyarrow.parquet.write_table(pyarrow.table(data, schema=schema), partial)
    except OSError as error:
        raise EnvironmentProblem(
            f"{path}: cannot write the table ({error.strerror or error})."
        ) from None


def write_sweep_layers_csv(rows: Iterable[SweepRow], root: Path, path: Path) -> int:
    """Every measured cell's `layers.csv`, its cells unchanged behind the columns `LAYER_KEYS`.

    `image_size_mode` and the cell's id follow at the end.

    Args:
        root: the sweep's folder, which the rows' folders are relative to.

    Returns:
        How many cells have a layer table; runs without a trace have none.

    Raises:
        DataError: a cell's table cannot be read or has other columns.
        EnvironmentProblem: the file cannot be written.
    """
    header = [*LAYER_KEYS, *(column.name for column in COLUMNS), "image_size_mode", "cell"]
    having = [
        (row, file)
        for row in rows
        if row.folder is not None and is_there(file := root / row.folder / LAYERS_FILE)
    ]
    write_csv(path, header, (line for row, file in having for line in _layer_lines(row, file)))
    return len(having)


def _layer_lines(row: SweepRow, path: Path) -> Iterator[list[str]]:
    keys, tail = layer_keys(row), (row.config.image_size_mode, row.cell)
    try:
        with table_text(path) as file:
            lines: Iterator[list[str]] = csv.reader(file, strict=True)
            header, known = next(lines, []), [column.name for column in COLUMNS]
            if set(header) - set(known):
                raise DataError(f"{path}: its columns are not those of this version.")
            if header != known:  # a cell of an older version, in a sweep that goes on
                lines = lines_of_now(path)
                next(lines)
            for line in lines:
                yield [*keys, *line, *tail]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot read the layer table ({error}).") from None
