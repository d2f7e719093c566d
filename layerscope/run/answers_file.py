"""A file of answers in, predictions to score out: CSV, JSON lines, or a JSON list.

A row has `prediction` and `references`: a JSON list of texts, texts parted by `|`, or one text.
`sample_id`, `prompt`, `letter_reference` and `text_reference` are read where they stand; further
columns are passed over. `predictions.csv` of a run is such a file, and a run folder stands for its own.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerscope.core.errors import DataError
from layerscope.core.files import PREDICTIONS_FILE
from layerscope.records.run_record import Prediction
from layerscope.scores.option_letter import bare_letter

_NEEDED = ("prediction", "references")
_DAMAGED_SHOWN = 60

Row = Mapping[str, Any]


def read_answers(path: Path) -> tuple[Prediction, ...]:
    """Every answer of the file, in its order.

    Where each row has one reference and all of them are letters, the questions are taken for
    multiple choice: the letters are the right options.

    Raises:
        DataError: the file cannot be read, holds no answer, or a row lacks something or is damaged;
            the message names the line.
    """
    file = path / PREDICTIONS_FILE if path.is_dir() else path
    rows = _rows(file, _text(file))
    found = tuple(_prediction(row, where) for row, where in rows)
    if not found:
        raise DataError(f"{file}: holds no answer; each row needs {' and '.join(_NEEDED)}.")
    return _with_letters(found)


def _text(file: Path) -> str:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: cannot read it ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text (byte {error.start}).") from None
    if not text.strip():
        raise DataError(f"{file}: the file is empty.")
    return text


def _rows(file: Path, text: str) -> Iterator[tuple[Row, str]]:
    """Rows, each with the words that say where it stands. What the file is, its first mark tells."""
    first = text.lstrip()[0]
    if first == "[" and not file.name.endswith(".csv"):
        yield from _json_rows(file, text)
    elif first == "{" or file.suffix in (".jsonl", ".ndjson"):
        yield from _json_line_rows(file, text)
    else:
        yield from _csv_rows(file, text)


def _json_rows(file: Path, text: str) -> Iterator[tuple[Row, str]]:
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not a list in JSON ({error}).") from None
    for number, item in enumerate(items, 1):
        yield _object(item, where := f"{file}, item {number}"), where


def _json_line_rows(file: Path, text: str) -> Iterator[tuple[Row, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            item = json.loads(line)
        except (ValueError, RecursionError):
            shown = line.strip()[:_DAMAGED_SHOWN]
            raise DataError(f"{where}: not JSON: {shown!r}.") from None
        yield _object(item, where), where


def _object(item: Any, where: str) -> Row:
    if not isinstance(item, dict):
        raise DataError(f"{where}: not an object with {' and '.join(_NEEDED)}.")
    lacking = [name for name in _NEEDED if name not in item]
    if lacking:
        raise DataError(f"{where}: lacks {' and '.join(lacking)}; {_has(item)}.")
    return item


def _csv_rows(file: Path, text: str) -> Iterator[tuple[Row, str]]:
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        lacking = [name for name in _NEEDED if name not in header]
        if lacking:
            raise DataError(f"{file}: no column {' and '.join(lacking)}; {_has(header)}.")
        for cells in reader:
            where = f"{file}, line {reader.line_num}"
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{where}: {len(cells)} cells, the header has {len(header)}; a text with a "
                    "comma needs quotation marks."
                )
            yield dict(zip(header, cells, strict=True)), where
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: not CSV ({error}).") from None


def _has(names: Sequence[str] | Row) -> str:
    shown = ", ".join(map(str, names)) or "nothing"
    return f"it has {shown}"


def _prediction(row: Row, where: str) -> Prediction:
    return Prediction(
        sample_id=_optional(row, "sample_id", where) or where.rpartition(", ")[2],
        batch=0,
        prompt=_optional(row, "prompt", where) or "",
        prediction=_one_text(row["prediction"], "prediction", where),
        references=_references(row["references"], where),
        new_tokens=0,
        letter_reference=_optional(row, "letter_reference", where) or None,
        text_reference=_optional(row, "text_reference", where) or None,
    )


def _optional(row: Row, name: str, where: str) -> str:
    value = row.get(name)
    return "" if value is None else _one_text(value, name, where)


def _one_text(value: Any, name: str, where: str) -> str:
    """A text; a number stands for its own, anything else is no answer."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"{where}: {name} is {json.dumps(value)[:_DAMAGED_SHOWN]}, not a text.")


def _references(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            shown = value.strip()[:_DAMAGED_SHOWN]
            raise DataError(
                f"{where}: references begins like a list but is none in JSON: {shown!r}."
            ) from None
    if isinstance(value, list):
        return tuple(_one_text(each, "a reference", where) for each in value)
    text = _one_text(value, "references", where)
    # Without a mark, an empty cell is no reference; an annotator who wrote nothing needs a list.
    return tuple(part.strip() for part in text.split("|")) if text.strip() else ()


def _with_letters(found: tuple[Prediction, ...]) -> tuple[Prediction, ...]:
    if any(item.letter_reference is not None for item in found):
        return found
    letters = [bare_letter(i.references[0]) if len(i.references) == 1 else None for i in found]
    if None in letters:
        return found
    return tuple(replace(i, letter_reference=n) for i, n in zip(found, letters, strict=True))
