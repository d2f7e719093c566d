"""Rows of an imagined sweep, for tests of what is derived from them."""

from __future__ import annotations

from typing import Any

from layerscope.records import Interval, RunConfig
from layerscope.records.sweep import Estimate, SweepRow

CONFIG: dict[str, Any] = {
    "model": "tiny", "dataset": "synthetic-textvqa", "device": "cpu", "dtype": "fp32",
}  # fmt: skip


def about(value: float | None, reach: float = 0.0) -> Estimate:
    """A value with an interval of `reach` on both sides."""
    if value is None:
        return Estimate(reason="not measured in this test")
    interval = Interval(low=value - reach, high=value + reach, method="test")
    return Estimate(value=value, interval=interval)


def row(
    settings: dict[str, Any],
    *,
    latency: float | None = None,
    energy: float | None = None,
    wer: float | None = None,
    reach: float = 0.0,
    groups: dict[str, int] | None = None,
    **fields: Any,
) -> SweepRow:
    """A measured cell: axes, its numbers, and whatever else of `SweepRow` a test needs."""
    config = fields.pop("config", {})
    made: dict[str, Any] = {
        "cell": " ".join(f"{k}={v}" for k, v in settings.items()) or "base",
        "settings": settings,
        "config": RunConfig(**(CONFIG | config | settings)),
        "status": "done",
        "latency_s": about(latency, reach),
        "energy_j": about(energy, reach),
        "energy_reference_j": about(energy, reach),
        "wer": about(wer, reach),
        "group_ns": groups or {},
        "parameters": 5,
        "pixels": 224,
        "text_length": 14,
        "decoder_steps": 10.0,
        "trained": True,
    }
    return SweepRow(**(made | fields))
