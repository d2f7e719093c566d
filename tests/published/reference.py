"""The published tables' entries, as `configs/reference/reference_tables.json` holds them."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from published.pages import ROOT


@cache
def tables() -> Any:
    return json.loads((ROOT / "configs/reference/reference_tables.json").read_text("utf-8"))


def published(name: str, row: str) -> Any:
    """One row of a published table."""
    return tables()[name]["rows"][row]
