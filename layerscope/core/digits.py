"""A number that rests on measured ceilings in, its text with the two digits it deserves out.

Two measurements of one device, minutes apart, differ by some per cent: a third digit would say more
than anybody knows.
"""

from __future__ import annotations

import math


def two_digits(value: float) -> str:
    """0.19, 8.1, 84, 1,300."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.1e}")
    return f"{rounded:,.{max(0, 1 - math.floor(math.log10(abs(rounded))))}f}"


def percent_two(share: float) -> str:
    """A share in per cent: "83 %", "5.2 %"."""
    return f"{two_digits(100 * share)} %"


def ms_two(ns: float) -> str:
    """Nanoseconds in milliseconds: "84 ms", "0.25 ms"."""
    return f"{two_digits(ns / 1e6)} ms"
