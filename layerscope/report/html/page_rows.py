"""Layer tables in, the JSON that the page's icicle reads out: columns once, then one array a row.

Tables share their texts, so a second run of the same model adds its numbers alone. Amounts stay
integers (nanoseconds, FLOPs, bytes), so that the page's sums are exact.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layerscope.core.columns import COLUMNS, Column
from layerscope.records import LayerRow, LayerTable

# Texts repeat from row to row, so a row holds their place in a list. The page sums totals itself.
_TEXTS = tuple(column for column in COLUMNS if column.kind == "text")
_NUMBERS = tuple(
    c for c in COLUMNS if c.field and c.kind != "text" and not (c.is_total or c.follows)
)
_DIGITS = 4  # of a rate: what a page shows
_ALWAYS = ("depth", "calls", "kernels")


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedRows:
    """One table and how the page calls it; empty where there is only one."""

    name: str
    rows: Sequence[LayerRow]


def rows_json(table: LayerTable) -> str:
    """One run's table; see `tables_json`."""
    return tables_json([NamedRows(name="", rows=table.rows)])


def tables_json(tables: Sequence[NamedRows]) -> str:
    """`{"columns", "about": {column: {...}}, "texts": {column: [...]}, "tables": [...]}`; a table is
    `{"name", "device", "rows"}`.

    Columns are called as the fields of a row, in whose units their numbers are. Safe inside HTML. A
    row holds the place of each of its texts, then its numbers.
    """
    rows = [row for table in tables for row in table.rows]

    def measured(column: Column) -> bool:
        return any(getattr(row, column.field) is not None for row in rows)

    numbers = [c for c in _NUMBERS if c.name in _ALWAYS or measured(c)]
    named = [c for c in _TEXTS if c.required or measured(c)]
    texts: dict[str, dict[str, int]] = {column.field: {} for column in named}
    held = [
        {
            "name": table.name,
            "device": any(row.gpu_self_ns is not None for row in table.rows),
            "rows": [_row(row, numbers, texts) for row in table.rows],
        }
        for table in tables
    ]
    page = {
        "columns": [column.field for column in (*named, *numbers)],
        "about": {column.field: _about(column) for column in (*named, *numbers)},
        "texts": {name: list(seen) for name, seen in texts.items()},
        "tables": held,
    }
    return json_in_html(page)


def _about(column: Column) -> dict[str, Any]:
    return {
        "label": column.label,
        "kind": column.kind,
        "unit": column.unit,
        "adds": column.adds,
        "digits": column.digits,
    }


def json_in_html(value: Any) -> str:
    """JSON without a character that could end, or open, anything in the page around it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _row(row: LayerRow, numbers: Sequence[Column], texts: dict[str, dict[str, int]]) -> list[Any]:
    places = []
    for name, seen in texts.items():
        places.append(seen.setdefault(getattr(row, name) or "", len(seen)))
    return [*places, *(_number(column, getattr(row, column.field)) for column in numbers)]


def _number(column: Column, value: float | None) -> float | None:
    """What is summed stays exact; others keep the digits that mean something."""
    if value is None or column.adds or (isinstance(value, int) and column.digits is None):
        return value
    short = float(f"{value:.{column.digits or _DIGITS}g}")
    return int(short) if isinstance(value, int) else short
