"""Quantities in, their text out: how many digits each kind of number carries, and its unit.

Microseconds to the nanosecond, as files and tables have them, are `core.microseconds`.
"""

from __future__ import annotations

import math

NS_PER_S = 1e9
MIB = 1 << 20
GIB = 1 << 30
_SIZES = {"MB": 1e6, "GB": 1e9, "MiB": MIB, "GiB": GIB}
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"))


def ms(ns: float) -> str:
    """Nanoseconds as milliseconds with digits that mean something: 98.2 ms, 0.253 ms, 1,012 ms."""
    return f"{_meaningful(ns / 1e6, 100)} ms"


def ms_number(ns: float) -> str:
    """The same without unit, for a figure, which has room for one digit more: 210.1, 9.86, 0.253."""
    return _meaningful(ns / 1e6, 1000)


def ms_grouped(ns: float) -> str:
    """Milliseconds to the microsecond, thousands apart, without unit: 1,011.502."""
    return f"{ns / 1e6:,.3f}"


def ms_three(ns: float) -> str:
    """Milliseconds with three digits, none of a whole number lost, without unit: 1,012, 39.8, 0.0123.

    Files have the exact time; "0" is none at all.
    """
    value = abs(ns) / 1e6
    sign = "-" if ns < 0 else ""
    return sign + (f"{value:,.0f}" if value >= 999.5 else significant(value, 3))


def giga_three(count: float) -> str:
    """A count in units of 10⁹ with three digits: 1,269 for 1.269e12, 0.848, 0.0000123."""
    return ms_three(count / 1e3)


def us(ns: float) -> str:
    """Nanoseconds as microseconds, one decimal."""
    return f"{ns / 1e3:,.1f} µs"


def percent(share: float) -> str:
    """A share: 30 %, 4.2 %, 0.12 %."""
    value = 100 * share
    digits = 0 if value >= 10 else 1 if value >= 1 else 2
    return f"{value:.{digits}f} %"


def percent_fixed(part: float, whole: float = 1) -> str:
    """A part of the whole in a column of its like, two decimals: 30.00 %."""
    return f"{100 * part / whole:.2f} %"


def significant(value: float, digits: int) -> str:
    """A number rounded to so many significant digits, no more and no exponent: 0.19, 84, 1,300."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}"


def two_digits(value: float) -> str:
    """What rests on measured ceilings: 0.19, 8.1, 84, 1,300.

    Two measurements of one device, minutes apart, differ by some per cent: a third digit would say
    more than anybody knows.
    """
    return significant(value, 2)


def percent_two(share: float) -> str:
    """A share that rests on ceilings, in per cent: "83 %", "5.2 %"."""
    return f"{two_digits(100 * share)} %"


def ms_two(ns: float) -> str:
    """A time that rests on ceilings, in milliseconds: "84 ms", "0.25 ms"."""
    return f"{two_digits(ns / 1e6)} ms"


def size_text(count: float, unit: str, decimals: int = 1) -> str:
    """Bytes in MB, GB, MiB or GiB: "1,234.5 MiB"."""
    return f"{count / _SIZES[unit]:,.{decimals}f} {unit}"


def prefixed(value: float) -> tuple[float, str]:
    """A number of many digits and its SI prefix: 1.5e12 is (1.5, "T"); below a million, no prefix."""
    for scale, prefix in _PREFIXES:
        if abs(value) >= scale:
            return value / scale, prefix
    return value, ""


def _meaningful(value: float, whole_from: float) -> str:
    digits = 0 if value >= whole_from else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"
