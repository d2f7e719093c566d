"""Ceilings in, what cannot be true of them out: read from a file, they may say anything."""

from __future__ import annotations

import math

from layerscope.core.units import significant
from layerscope.records.work import COPY, Ceilings

# A part's clock may exceed the one its maker states the rate at, by a tenth or so; more is an error.
MOST_OF_STATED = 1.15
# Nobody's product of large matrices, or copy, is that far from what the maker states.
LEAST_OF_STATED = 0.1
# Half precision is at least as fast as single on a GPU with units for it; on CPUs it may be emulated.
ORDER = (("float16", "float32"), ("bfloat16", "float32"), ("tf32", "float32"), ("float16", "tf32"))
OUT_OF_ORDER = 0.8


def impossible(ceilings: Ceilings) -> dict[str, str]:
    """Ceiling -> why it cannot be a rate at all, or not of this device: no bound stands on it."""
    found = {}
    for name, rate in ceilings.rates().items():
        stated = ceilings.stated(name)
        if not math.isfinite(rate) or rate <= 0:
            found[name] = f"{name}: {rate:g} per second is no rate"
        elif stated and rate > MOST_OF_STATED * stated:
            found[name] = (
                f"{name}: {rate_text(name, rate)}, the maker states {rate_text(name, stated)}"
            )
    return found


def unlikely(ceilings: Ceilings) -> dict[str, str]:
    """Ceiling -> why it looks wrong, though a machine might do it: a reason to measure again."""
    found = {}
    rates = ceilings.rates()
    for name, rate in rates.items():
        stated = ceilings.stated(name)
        if stated and rate < LEAST_OF_STATED * stated:
            found[name] = (
                f"{name}: {rate_text(name, rate)}, the maker states {rate_text(name, stated)}"
            )
    if ceilings.datasheet_flops_per_s:
        for faster, slower in ORDER:
            if faster in rates and slower in rates and rates[faster] < OUT_OF_ORDER * rates[slower]:
                found.setdefault(faster, f"{faster} slower than {slower}")
    return found


def rate_text(name: str, per_s: float) -> str:
    """A ceiling with its unit, three digits: "769 TFLOP/s", "4,170 GB/s", "0.0014 TFLOP/s"."""
    if name == COPY:
        return f"{significant(per_s / 1e9, 3)} GB/s"
    return f"{significant(per_s / 1e12, 3)} TFLOP/s"
