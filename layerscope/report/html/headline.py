"""A run in, its headline numbers out: value per batch and per sample, interval, definition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from layerscope.core.units import NS_PER_S
from layerscope.records import Interval, RunRecord
from layerscope.records.run_record import Reported
from layerscope.report.quantities import per_batch, per_sample, reported_text
from layerscope.stats.energy_summary import summarise_energy
from layerscope.stats.latency import latency_summary
from layerscope.stats.program_energy import summarise_program_energy


@dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    """One headline number in words.

    Attributes:
        value: the number with its unit; None when it was not measured.
        of: what it is of; empty where the unit says it all.
        beside: the same for one sample, where `value` is for a batch.
        interval: how sure it is, or why that is not known.
        reason: why there is no value.
    """

    name: str
    value: str | None
    of: str
    beside: str
    interval: str
    definition: str
    reason: str


def headlines(record: RunRecord) -> tuple[Headline, ...]:
    """Latency, energy, FLOPs and WER, in this order."""
    report = record.report
    return (
        _headline("latency", report.latency, record, _latency_interval(record)),
        _headline("energy", report.energy, record, _energy_interval(record)),
        _headline("FLOPs", report.flops, record, "a count, the same in every repeat"),
        _headline("WER", report.wer_value, record, _wer_interval(record)),
    )


def _headline(name: str, reported: Reported, record: RunRecord, interval: str) -> Headline:
    value, of, beside = None, "", ""
    if reported.value is not None:
        size = record.batch_size
        batch, sample = per_batch(reported, size), per_sample(reported, size)
        value, base = reported_text(replace(reported, unit=""), size), reported.unit
        if batch is not None and sample is not None:
            base = reported.unit.rpartition("/")[0]
            value, of = _amount(reported, batch, base), f"per batch of {size}"
            beside = f"{_amount(reported, sample, base)} per sample"
        elif base:
            value = _amount(reported, reported.value, base)
    return Headline(
        name=name,
        value=value,
        of=of,
        beside=beside,
        interval=interval if value is not None else "",
        definition=reported.definition,
        reason=(reported.reason or "no reason recorded") if value is None else "",
    )


def _amount(reported: Reported, value: float, unit: str) -> str:
    """A value of this unit in words: a unit that says neither batch nor sample is shown as it is."""
    return reported_text(replace(reported, value=value, unit=unit), 1)


def _latency_interval(record: RunRecord) -> str:
    summary = latency_summary(record)
    if summary is None:
        return ""
    return _interval(summary.interval, f"median of {summary.count} batches", "s", NS_PER_S)


def _energy_interval(record: RunRecord) -> str:
    if record.program_energy is not None:
        found = summarise_program_energy(record.program_energy)
        return _interval(found.interval, f"{found.calls} calls", "J per call")
    if record.energy is None:
        return ""
    energy = summarise_energy(record.energy, seed=record.seed)
    return _interval(energy.interval, f"{energy.windows} windows", "J per sample")


def _wer_interval(record: RunRecord) -> str:
    if record.quality is None:
        return ""
    return _interval(record.quality.wer_interval, f"{record.quality.samples} samples", "")


def _interval(interval: Interval | None, of: str, unit: str, scale: float = 1.0) -> str:
    if interval is None:
        return f"{of}: too few for an interval"
    bounds = f"{interval.low / scale:.4g} to {interval.high / scale:.4g} {unit}".rstrip()
    if interval.confidence is None:
        return f"{of}; range {bounds}: {interval.reason}"
    return f"{of}; {100 * interval.confidence:.0f} % interval {bounds}"


def _energy_of(record: RunRecord) -> Interval | None:
    if record.program_energy is not None:
        return summarise_program_energy(record.program_energy).interval
    return summarise_energy(record.energy, seed=record.seed).interval if record.energy else None


def interval_methods(record: RunRecord) -> Iterator[tuple[str, str]]:
    """(number, method): how each interval that is shown was made."""
    latency = latency_summary(record)
    found = {
        "latency": latency.interval if latency else None,
        "energy": _energy_of(record),
        "WER": record.quality.wer_interval if record.quality else None,
    }
    for name, interval in found.items():
        if interval is not None and interval.confidence is None:
            yield name, f"{interval.method}; {interval.reason}"
        elif interval is not None and interval.confidence is not None:
            yield name, f"{100 * interval.confidence:.0f} %, {interval.method}"
