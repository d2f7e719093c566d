"""Layer tables in, the JSON that the page's icicle reads out: columns once, then one array a row.

Tables share their texts, so a second run of the same model adds its numbers alone. Amounts stay
integers (nanoseconds, FLOPs, bytes), so that the page's sums are exact.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layerscope.records import LayerRow, LayerTable

# Name on the page -> field of `LayerRow`; a column that no row measured is left out.
_AMOUNTS = {
    "gpu": "gpu_self_ns",
    "cpu": "cpu_self_ns",
    "op": "op_self_ns",
    "flops": "flops_self",
    "bytes": "bytes_self",
    "energy": "energy_j",
    "memory": "memory_peak_bytes",
    "roofline": "roofline_fraction",
    "params": "params",
}
# Texts repeat from row to row, so a row holds their place in a list.
_TEXTS = {
    "layer": "layer",
    "phase": "phase",
    "module": "module",
    "group": "group",
    "dtype": "dtype",
    "bound": "bound",
}
_COUNTS = ("depth", "calls", "kernels")


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedRows:
    """One table and how the page calls it; empty where there is only one."""

    name: str
    rows: Sequence[LayerRow]


def rows_json(table: LayerTable) -> str:
    """One run's table; see `tables_json`."""
    return tables_json([NamedRows(name="", rows=table.rows)])


def tables_json(tables: Sequence[NamedRows]) -> str:
    """`{"columns": [...], "texts": {column: [...]}, "tables": [{"name", "device", "rows"}, ...]}`.

    Safe inside HTML. A row holds the place of each of its texts, then its numbers.
    """
    amounts = {
        name: field
        for name, field in _AMOUNTS.items()
        if any(getattr(row, field) is not None for table in tables for row in table.rows)
    }
    texts: dict[str, dict[str, int]] = {name: {} for name in _TEXTS}
    held = [
        {
            "name": table.name,
            "device": any(row.gpu_self_ns is not None for row in table.rows),
            "rows": [_row(row, amounts, texts) for row in table.rows],
        }
        for table in tables
    ]
    page = {
        "columns": [*_TEXTS, *_COUNTS, *amounts],
        "texts": {name: list(seen) for name, seen in texts.items()},
        "tables": held,
    }
    return json_in_html(page)


def json_in_html(value: Any) -> str:
    """JSON without a character that could end, or open, anything in the page around it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _row(row: LayerRow, amounts: dict[str, str], texts: dict[str, dict[str, int]]) -> list[Any]:
    places = []
    for name, field in _TEXTS.items():
        seen = texts[name]
        places.append(seen.setdefault(getattr(row, field) or "", len(seen)))
    counts = [getattr(row, name) for name in _COUNTS]
    return [*places, *counts, *(_amount(name, getattr(row, f)) for name, f in amounts.items())]


def _amount(name: str, value: float | None) -> float | None:
    """What is summed stays exact; the fraction of the roofline keeps the digits that mean something."""
    return float(f"{value:.2g}") if name == "roofline" and value is not None else value
