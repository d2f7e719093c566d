"""A header and rows of text in, a CSV file that every reader takes back unchanged out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from layerscope.core.errors import EnvironmentProblem
from layerscope.core.whole_file import whole_file

_MARKS = re.compile(r'[",\r\n]')


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write the lines.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    try:
        with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            file.writelines(_line(cells) for cells in chain([header], rows))
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot write the table ({error.strerror}).") from None


def csv_text(lines: Iterable[Sequence[str]]) -> str:
    """The same lines as one text, header first."""
    return "".join(_line(cells) for cells in lines)


def cell_text(value: str | int | float | None) -> str:
    """A value as a cell: blank where it was not measured, floats with every digit they have."""
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _line(cells: Sequence[str]) -> str:
    # csv.writer leaves a lone carriage return unquoted under this line end; its reader then breaks.
    return ",".join(_quoted(cell) if _MARKS.search(cell) else cell for cell in cells) + "\n"


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'
