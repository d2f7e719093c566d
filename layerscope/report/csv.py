"""An account in, `layers.csv`, `kernels.csv`, `operators.csv` and `steps.csv` out; layers read back.

A blank cell is a value that was not measured. Times are microseconds with exactly three decimals.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from layerscope.core.columns import COLUMNS, Column, Value
from layerscope.core.errors import DataError
from layerscope.core.folder_file import table_text
from layerscope.core.kinds import Layer, kinds_of
from layerscope.core.microseconds import ns_of, us_text
from layerscope.core.units import MIB
from layerscope.records.layer_table import LayerRow, LayerTable, params_once
from layerscope.records.tables import KernelRow, OperatorRow, StepRow
from layerscope.report.columns import value_of
from layerscope.report.csv_lines import cell_text, write_csv

# One byte is 9.5e-7 MiB, so seven decimals tell every byte count from its neighbour.
_MIB_PLACES = 7


def write_layers_csv(table: LayerTable, path: Path) -> None:
    """Write one line per row of the table, in the table's order and the columns of `COLUMNS`.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    rows = (
        [_cell(column, value_of(column, row, table)) for column in COLUMNS] for row in table.rows
    )
    write_csv(path, [column.name for column in COLUMNS], rows)


def read_layers_csv(path: Path) -> tuple[LayerRow, ...]:
    """Read the rows that `write_layers_csv` wrote: the same integers, None where a cell is blank.

    Columns that this version does not know are left out; `gpu_share` is derived, so not read. A table
    from before there were kinds of layers gets them from its classes and parameters, and loses the
    parameters that it repeats from phase to phase.

    Raises:
        DataError: the file is missing, lacks a required column, or holds a cell of another form.
    """
    try:
        with table_text(path) as file:
            return _rows_of(csv.reader(file, strict=True), path)
    except OSError as error:
        raise DataError(f"{path}: cannot read the layer table ({error.strerror}).") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a layer table in CSV ({error}).") from None


def lines_of_now(path: Path) -> Iterator[list[str]]:
    """The lines of a layer table, header first, in the columns of this version.

    Cells that the file has stay as they are; a column that it lacks is blank, but for the kinds.

    Raises:
        DataError: as `read_layers_csv`.
    """
    rows = read_layers_csv(path)
    with table_text(path) as file:
        lines = csv.reader(file, strict=True)
        header = next(lines)
        yield [column.name for column in COLUMNS]
        if "layer_kind" in header:
            kept = {name: header.index(name) for name in header}
        else:  # of before there were kinds: parameters stand once
            kept = {name: at for at, name in enumerate(header) if name != "params"}
        for line, row in zip(lines, rows, strict=True):
            yield [
                line[kept[column.name]]
                if column.name in kept
                else _cell(column, getattr(row, column.field))
                if column.field in ("layer_kind", "params")
                else ""
                for column in COLUMNS
            ]


def write_kernels_csv(kernels: Iterable[KernelRow], path: Path) -> None:
    """Write `kernel,layer,phase,calls,gpu_self_us,launch`.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    header = ["kernel", "layer", "phase", "calls", "gpu_self_us", "launch"]
    rows = (
        [row.kernel, row.layer, row.phase, str(row.count), us_text(row.total_ns), row.launch]
        for row in kernels
    )
    write_csv(path, header, rows)


def write_operators_csv(operators: Iterable[OperatorRow], path: Path) -> None:
    """Write `operator,layer,phase,calls,cpu_self_us,cpu_total_us`.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    header = ["operator", "layer", "phase", "calls", "cpu_self_us", "cpu_total_us"]
    rows = (
        [
            row.operator,
            row.layer,
            row.phase,
            str(row.calls),
            us_text(row.self_ns),
            us_text(row.total_ns),
        ]
        for row in operators
    )
    write_csv(path, header, rows)


def write_steps_csv(steps: Iterable[StepRow], path: Path) -> None:
    """Write `step,phase,gpu_total_us,cpu_total_us,kernels`; blank is what no device was traced for.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    rows = (
        [
            str(row.step),
            row.phase,
            "" if row.gpu_ns is None else us_text(row.gpu_ns),
            us_text(row.cpu_ns),
            "" if row.gpu_ns is None else str(row.kernels),
        ]
        for row in steps
    )
    write_csv(path, ["step", "phase", "gpu_total_us", "cpu_total_us", "kernels"], rows)


def _cell(column: Column, value: Value) -> str:
    if value is None:
        return ""
    if column.kind == "time":
        assert isinstance(value, int)
        return us_text(value)
    if column.kind == "mebibytes":
        assert isinstance(value, int)
        return _mib_text(value)
    if column.kind == "share":
        return f"{value:.9f}"
    return cell_text(value)


def _mib_text(count: int) -> str:
    scale: int = 10**_MIB_PLACES
    whole, part = divmod((count * scale + MIB // 2) // MIB, scale)
    return f"{whole}.{part:0{_MIB_PLACES}d}".rstrip("0").rstrip(".")


def _bytes_of(text: str) -> int:
    whole, _, part = text.partition(".")
    scale: int = 10**_MIB_PLACES
    scaled = int(whole) * scale + int(part.ljust(_MIB_PLACES, "0")[:_MIB_PLACES])
    return (scaled * MIB + scale // 2) // scale


def _rows_of(lines: Iterable[list[str]], path: Path) -> tuple[LayerRow, ...]:
    numbered = enumerate(lines, start=1)
    _, header = next(numbered, (1, []))
    missing = [column.name for column in COLUMNS if column.required and column.name not in header]
    if missing:
        raise DataError(f"{path}: not a layer table; it has no column {', '.join(missing)}.")
    known = [(header.index(c.name), c) for c in COLUMNS if c.field and c.name in header]
    rows: list[LayerRow] = []
    for number, line in numbered:
        if len(line) != len(header):
            raise DataError(
                f"{path}, row {number}: {len(line)} cells under {len(header)} columns; "
                "the file was cut short or edited."
            )
        rows.append(_row_of(line, known, f"{path}, row {number}"))
    return tuple(rows) if "layer_kind" in header else _with_kinds(rows)


def _with_kinds(rows: Sequence[LayerRow]) -> tuple[LayerRow, ...]:
    layers = {}
    for row in rows:
        if not row.is_bucket:
            shapes = None if row.params is None else str(row.params)
            layers[row.layer] = Layer(row.layer, row.module, shapes)
    kinds = kinds_of(layers.values())
    return params_once(replace(row, layer_kind=kinds.get(row.layer, row.layer)) for row in rows)


def _row_of(line: list[str], known: list[tuple[int, Column]], where: str) -> LayerRow:
    # Columns an older file may lack: the type demands them, None is their "not measured".
    fields: dict[str, Value] = {
        "gpu_self_ns": None,
        "gpu_total_ns": None,
        "cpu_self_ns": None,
        "cpu_total_ns": None,
        "params": None,
        "kernels": 0,
    }
    for index, column in known:
        try:
            value = _value(column, line[index])
        except ValueError as error:
            raise DataError(f"{where}, column {column.name}: {error}.") from None
        if value is not None or column.field != "kernels":
            fields[column.field] = value
    return LayerRow(**fields)  # type: ignore[arg-type]  # each kind yields its field's type


def _value(column: Column, text: str) -> Value:
    if column.kind == "text" and column.required:
        return text
    if text == "":
        if column.required:
            raise ValueError("the cell is blank")
        return None
    if column.kind == "integer":
        return int(text)
    if column.kind == "time":
        return ns_of(text)
    if column.kind == "mebibytes":
        return _bytes_of(text)
    return float(text) if column.kind == "real" else text
