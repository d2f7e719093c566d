"""Integer nanoseconds in, text of microseconds with exactly three decimals out, and back.

Integers throughout: a float would round the last digit of a long run.
"""

from __future__ import annotations

import re

_FORM = re.compile(r"(-?)(\d+)\.(\d{3})", re.ASCII)


def us_text(ns: int) -> str:
    """Microseconds for a file: 253056 ns is `253.056`."""
    whole, part = divmod(abs(ns), 1000)
    return f"{'-' if ns < 0 else ''}{whole}.{part:03d}"


def us_grouped(ns: int) -> str:
    """Microseconds for a reader, thousands apart: 210096345 ns is `210,096.345`."""
    whole, part = divmod(abs(ns), 1000)
    return f"{'-' if ns < 0 else ''}{whole:,}.{part:03d}"


def us_number(ns: int) -> float:
    """Microseconds as the float nearest to the decimal with three places (exact below 2**43 us)."""
    return ns / 1000


def ns_of(text: str) -> int:
    """Nanoseconds of what `us_text` wrote.

    Raises:
        ValueError: the text is not a decimal with exactly three places.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError(f"{text!r} is not a time in microseconds with three decimals")
    ns = int(form[2]) * 1000 + int(form[3])
    return -ns if form[1] else ns
