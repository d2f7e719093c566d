"""The columns of `sweep.csv` and `sweep.parquet`: what each holds, read from a `SweepRow`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from layerscope.records.sweep import Estimate, SweepRow
from layerscope.stats.sweep_tables import value

Kind = Literal["text", "integer", "real"]
Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class SweepColumn:
    """One column. Blank (null) is not measured."""

    name: str
    kind: Kind
    read: Callable[[SweepRow], Cell]


def _config(name: str, kind: Kind, field: str = "") -> SweepColumn:
    def read(row: SweepRow) -> Cell:
        found: Cell = getattr(row.config, field or name)
        return str(found) if kind == "text" and found is not None else found

    return SweepColumn(name, kind, read)


def _own(name: str, kind: Kind, field: str = "") -> SweepColumn:
    return SweepColumn(name, kind, lambda row: getattr(row, field or name))


def _estimate(name: str, unit: str, field: str) -> list[SweepColumn]:
    """Value, interval's ends and reason of absence: `<name><unit>`, `<name>_low<unit>`, …"""

    def of(row: SweepRow) -> Estimate:
        found: Estimate = getattr(row, field)
        return found

    def end(which: str) -> Callable[[SweepRow], Cell]:
        return lambda row: getattr(of(row).interval, which, None)

    return [
        SweepColumn(f"{name}{unit}", "real", lambda row: of(row).value),
        SweepColumn(f"{name}_low{unit}", "real", end("low")),
        SweepColumn(f"{name}_high{unit}", "real", end("high")),
        SweepColumn(f"{name}_absent_because", "text", lambda row: of(row).reason),
    ]


def _confidence(row: SweepRow) -> Cell:
    """Of the latency's interval; blank where no coverage is claimed, or where there is none."""
    return row.latency_s.interval.confidence if row.latency_s.interval is not None else None


_FIXED = (
    _own("cell", "text"),
    _own("status", "text"),
    _config("model", "text"),
    _config("weights", "text"),
    _config("device", "text"),
    _own("device_name", "text"),
    _config("dtype", "text"),
    _config("dataset", "text"),
    _config("batch_size", "integer"),
    _config("image_size", "integer"),
    _config("image_size_mode", "text"),
    _config("max_input_len", "integer"),
    _config("optimization", "text"),
    _config("attention", "text"),
    _config("max_new_tokens", "integer"),
    _config("samples", "integer"),
)
_SHOWN_FIELDS = frozenset(
    {
        *("model", "weights", "device", "dtype", "dataset", "batch_size", "image_size"),
        *("image_size_mode", "max_input_len", "optimization", "attention", "max_new_tokens"),
        "samples",
    }
)
_NUMBERS = (
    _own("pixels_seen", "integer", "pixels"),
    _own("padded_text_tokens", "integer", "text_length"),
    _own("decoder_steps", "real"),
    *_estimate("wer_value", "", "wer"),
    *_estimate("latency", "_s", "latency_s"),
    _own("latency_runs", "integer"),
    _own("latency_unstable", "text"),
    SweepColumn("samples_per_s", "real", lambda row: value(row, "samples_per_s")),
    *_estimate("first_token", "_s", "first_token_s"),
    *_estimate("energy", "_j_per_sample", "energy_j"),
    _own("energy_source", "text"),
    *_estimate("energy_mean_over_batches", "_j_per_sample", "energy_reference_j"),
    _own("flops_per_batch", "integer", "flops"),
    SweepColumn("flops_per_sample", "real", lambda row: value(row, "flops_per_sample")),
    SweepColumn("flops_last_batch", "real", lambda row: row.flops_reference.value),
    SweepColumn("flops_last_batch_absent_because", "text", lambda row: row.flops_reference.reason),
    _own("device_sum_us", "real"),
    _own("memory_peak_bytes", "integer"),
    _own("kv_cache_bytes", "integer"),
    _own("tokens_equal", "real"),
    _own("compile_s", "real"),
    _own("fell_back", "text"),
    _own("folder", "text"),
    SweepColumn("warnings", "text", lambda row: "; ".join(row.warnings) or None),
    _own("reason", "text"),
    SweepColumn("latency_confidence", "real", _confidence),
    _own("image_tokens_seen", "integer", "image_tokens"),
)


def columns(axes: Sequence[str]) -> tuple[SweepColumn, ...]:
    """All columns of a sweep over these axes; an axis the fixed columns lack gets its own."""
    more = tuple(_config(axis, "text") for axis in axes if axis not in _SHOWN_FIELDS)
    return (*_FIXED, *more, *_NUMBERS)
