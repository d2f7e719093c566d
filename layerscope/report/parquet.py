"""A layer table in, `layers.parquet` out: the columns of `layers.csv`, typed; null is not measured.

Microseconds are float64, each the float nearest to the decimal that `layers.csv` holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from layerscope.core.columns import COLUMNS, Column, Value
from layerscope.core.errors import EnvironmentProblem
from layerscope.core.microseconds import us_number
from layerscope.core.units import MIB
from layerscope.core.whole_file import whole_file
from layerscope.records.layer_table import LayerRow, LayerTable
from layerscope.report.columns import value_of

_TYPE_NAMES = {"text": "string", "integer": "int64"}


def write_layers_parquet(table: LayerTable, path: Path) -> None:
    """Write one row per row of the table, in the table's order.

    Raises:
        EnvironmentProblem: pyarrow is not installed, or the file cannot be written.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise EnvironmentProblem(
            f"{path}: writing Parquet needs pyarrow, which is not installed; pip install pyarrow."
        ) from None
    columns = _typed_columns(table)
    try:
        with whole_file(path) as partial:
            pyarrow.parquet.write_table(columns, partial)
    except OSError as error:
        reason = error.strerror or error
        raise EnvironmentProblem(f"{path}: cannot write the table ({reason}).") from None


def layers_frame(table: LayerTable, rows: Sequence[LayerRow] | None = None) -> Any:
    """The same columns as a pandas DataFrame, of these rows of the table or of all.

    Raises:
        EnvironmentProblem: pyarrow or pandas is not installed.
    """
    try:
        return _typed_columns(table, rows).to_pandas()
    except ImportError as error:
        raise EnvironmentProblem(
            f"a DataFrame needs pyarrow and pandas ({error}); pip install pyarrow pandas."
        ) from None


def layers_polars(table: LayerTable, rows: Sequence[LayerRow] | None = None) -> Any:
    """The same as a polars DataFrame.

    Raises:
        EnvironmentProblem: pyarrow or polars is not installed.
    """
    try:
        # By name: on request alone, since reading a run needs no library of data frames.
        return import_module("polars").from_arrow(_typed_columns(table, rows))
    except ImportError as error:
        raise EnvironmentProblem(
            f"a polars DataFrame needs pyarrow and polars ({error}); pip install pyarrow polars."
        ) from None


def _typed_columns(table: LayerTable, rows: Sequence[LayerRow] | None = None) -> Any:
    import pyarrow

    schema = pyarrow.schema(
        [
            pyarrow.field(c.name, getattr(pyarrow, _TYPE_NAMES.get(c.kind, "float64"))())
            for c in COLUMNS
        ]
    )
    shown = table.rows if rows is None else rows
    data: dict[str, list[Any]] = {
        column.name: [_typed(column, value_of(column, row, table)) for row in shown]
        for column in COLUMNS
    }
    return pyarrow.table(data, schema=schema)


def _typed(column: Column, value: Value) -> Value:
    if value is None or isinstance(value, str):
        return value
    if column.kind == "time":
        return us_number(int(value))
    if column.kind == "mebibytes":
        return value / MIB
    return value
