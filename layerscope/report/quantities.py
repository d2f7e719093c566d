"""A reported number in, its value per batch and per sample and their text out.

A `Reported` whose unit ends in `/batch` or `/sample` says what it is of; the other form follows
from the batch size, where that is known. A unit that says neither is shown as it is and never converted.
"""

from __future__ import annotations

from layerscope.core.units import prefixed
from layerscope.records.run_record import Reported


def per_batch(reported: Reported, batch_size: int | None) -> float | None:
    """The value for one full batch; None when absent or when the unit does not say what it is of."""
    if reported.value is None:
        return None
    of = reported.unit.rpartition("/")[2]
    if of == "sample":
        return None if batch_size is None else reported.value * batch_size
    return reported.value if of == "batch" else None


def per_sample(reported: Reported, batch_size: int | None) -> float | None:
    """The value for one sample; None when absent or when the unit does not say what it is of."""
    if reported.unit.endswith("/sample"):
        return reported.value
    whole = per_batch(reported, batch_size)
    return None if whole is None or batch_size is None else whole / batch_size


def reported_text(reported: Reported, batch_size: int | None) -> str:
    """The value in words: per batch and per sample where the unit allows, else why it is absent."""
    if reported.value is None:
        return f"not measured: {reported.reason or 'no reason recorded'}"
    batch, sample = per_batch(reported, batch_size), per_sample(reported, batch_size)
    base = reported.unit.rpartition("/")[0]
    if batch is None or sample is None:
        return f"{_amount(reported.value, reported.unit)}"
    return f"{_amount(batch, base)} per batch of {batch_size}, {_amount(sample, base)} per sample"


def _amount(value: float, unit: str) -> str:
    if unit.upper().startswith("FLOP"):
        number, prefix = prefixed(value)
        return f"{number:.4f} {prefix}{unit}" if prefix else f"{value:.0f} {unit}"
    return f"{value:.4g} {unit}".rstrip()
