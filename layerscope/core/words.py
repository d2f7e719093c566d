"""Quantities in, their words out: the wording that all findings share."""

from __future__ import annotations

from collections.abc import Sequence


def ms(ns: float) -> str:
    """Nanoseconds as milliseconds with three digits that mean something: 98.2 ms, 0.253 ms."""
    value = ns / 1e6
    if value >= 100:
        return f"{value:,.0f} ms"
    if value >= 10:
        return f"{value:.1f} ms"
    if value >= 1:
        return f"{value:.2f} ms"
    return f"{value:.3f} ms"


def us(ns: float) -> str:
    """Nanoseconds as microseconds, one decimal."""
    return f"{ns / 1e3:,.1f} µs"


def percent(share: float) -> str:
    """A share: 30 %, 4.2 %, 0.12 %."""
    value = 100 * share
    digits = 0 if value >= 10 else 1 if value >= 1 else 2
    return f"{value:.{digits}f} %"


def listed(items: Sequence[str]) -> str:
    """Items in a sentence: "a", "a and b", "a, b and c"."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: 1 layer, 24 layers."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def slug(text: str) -> str:
    """A name as part of an id."""
    return "-".join(filter(None, "".join(c if c.isalnum() else " " for c in text).split())).lower()
