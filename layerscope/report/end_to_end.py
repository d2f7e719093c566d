"""A run's raw samples in, labelled lines with its latency, energy and quality out.

Every statistic is derived here from the record's raw samples and shown with its interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from layerscope.core.units import NS_PER_S, size_text
from layerscope.records import (
    DeviceState,
    Interval,
    MemoryRecord,
    Quality,
    RunRecord,
)
from layerscope.stats.energy_summary import EnergySummary, summarise_energy
from layerscope.stats.latency import full_batches, latency_summary
from layerscope.stats.program_energy import summarise_program_energy
from layerscope.stats.statistics import LatencySummary, summarise


def end_to_end(record: RunRecord) -> Iterator[tuple[str, str]]:
    """(label, text) for latency, first token, energy and quality.

    What was not measured is left to the headline, which gives the reason.
    """
    summary = latency_summary(record)
    if summary is not None:
        yield "latency", _latency_text(summary, record)
        yield from _unclaimed(summary.interval)
        for words in summary.unstable:
            yield "", words
    yield from _first_token(record)
    energy = summarise_energy(record.energy, seed=record.seed) if record.energy else None
    if energy is not None and energy.joules_per_sample is not None:
        yield "energy", _energy_text(energy)
        yield "", _energy_method(energy, record)
    yield from _program_energy(record)
    if record.memory is not None:
        yield "memory", _memory_text(record.memory)
    if record.quality is not None and record.quality.wer_value is not None:
        yield "quality", _quality_text(record.quality)
        for form, quality in record.quality_by_answer_form.items():
            if quality.wer_value is not None:
                yield "", f"scored as {form}: {_quality_text(quality)}"


def ms_per_token(record: RunRecord) -> float | None:
    """(latency - time to first token) / (N - 1): medians, N the new tokens of the longest answer.

    None with a single new token, or where no first token was timed.
    """
    full = full_batches(record)
    if not full or not record.first_token:
        return None
    steps = median(s.decoder_steps for s in full)
    if steps <= 1:
        return None
    first = median(s.generate_ns for s in record.first_token)
    return (median(s.generate_ns for s in full) - first) / (steps - 1) / 1e6


def _latency_text(summary: LatencySummary, record: RunRecord) -> str:
    spread = (
        f"p90 {_s(summary.p90_ns)}, p99 {_s(summary.p99_ns)}, min {_s(summary.min_ns)} s; "
        f"{summary.samples_per_s:.4g} samples/s"
    )
    stopped = f"; stopped: {record.latency_stopped}" if record.latency_stopped else ""
    middle = f"median {_s(summary.median_ns)} s{_between(summary.interval, NS_PER_S)}"
    return f"{middle} of {summary.count} full batches; {spread}{stopped}"


def _first_token(record: RunRecord) -> Iterator[tuple[str, str]]:
    times = [sample.generate_ns for sample in record.first_token]
    if not times:
        return
    summary = summarise(times)
    text = f"median {_s(summary.median_ns)} s{_between(summary.interval, NS_PER_S)} of {len(times)}"
    per_token = ms_per_token(record)
    if per_token is not None:
        text += ", a window of its own; "
        if per_token > 0:
            text += f"then {per_token:.4g} ms per token"
        else:
            text += "the further tokens are lost in the noise of the two windows"
    yield "first token", text
    yield from _unclaimed(summary.interval)


def _energy_text(energy: EnergySummary) -> str:
    parts = [f"{energy.joules_per_sample:.4g} J/sample{_between(energy.interval)}"]
    if energy.mean_over_batches_j is not None:
        parts.append(f"as the mean over batches {energy.mean_over_batches_j:.4g}")
    if energy.joules_per_token is not None:
        parts.append(f"{energy.joules_per_token:.4g} J per new token")
    if energy.mean_w is not None:
        parts.append(f"mean {energy.mean_w:.4g} W")
    if energy.idle_w is not None and energy.share_above_idle is not None:
        parts.append(f"idle {energy.idle_w:.4g} W, {energy.share_above_idle:.0%} of it above idle")
    return "; ".join(parts)


def _program_energy(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Energy of calls of somebody's program, which ran no windows of ours."""
    read = record.program_energy
    if read is None:
        return
    found = summarise_program_energy(read)
    if found.joules_per_call is None or found.counter_error is None:
        return
    yield (
        "energy",
        f"{found.joules_per_call:.4g} J/call{_between(found.interval)}; mean {found.mean_w:.4g} W over "
        f"{found.calls} untraced calls in {found.span_s:.3g} s",
    )
    text = f"{', '.join(read.sources)}, its steps may account for {found.counter_error:.1%}"
    if found.between_calls is not None:
        text += f"; {found.between_calls:.1%} of the time lies between calls"
    if read.others is None:
        text += "; whether anybody else used the device is not known"
    yield "", text


def _energy_method(energy: EnergySummary, record: RunRecord) -> str:
    assert record.energy is not None
    sources = ", ".join(record.energy.sources)
    text = f"{energy.windows} windows, {sources}"
    if energy.counter_uncertainty is not None:
        text += f", its steps may account for {energy.counter_uncertainty:.1%}"
    return text + _states(record.energy.states)


def _states(states: Sequence[DeviceState]) -> str:
    """Temperature, clock and throttling seen after the windows' work."""
    parts = []
    heat = [s.temperature_c for s in states if s.temperature_c is not None]
    clocks = [s.sm_clock_mhz for s in states if s.sm_clock_mhz is not None]
    reasons = sorted({reason for s in states for reason in s.throttle_reasons or ()})
    if heat:
        parts.append(f"{min(heat)} to {max(heat)} °C")
    if clocks:
        parts.append(f"SM clock {min(clocks)} to {max(clocks)} MHz")
    if reasons:
        parts.append(f"held back by {', '.join(reasons)}")
    elif any(s.throttle_reasons is not None for s in states):
        parts.append("never throttled")
    return "; " + ", ".join(parts) if parts else ""


def _memory_text(memory: MemoryRecord) -> str:
    parts = [f"weights {size_text(memory.weights_bytes, 'MiB')}"]
    if memory.kv_cache_bytes is not None:
        parts.append(f"KV cache {size_text(memory.kv_cache_bytes, 'MiB')}")
    if memory.peak_bytes is not None:
        by_phase = ", ".join(
            f"{p} {size_text(b, 'MiB')}" for p, b in memory.peak_by_phase_bytes.items()
        )
        parts.append(f"peak {size_text(memory.peak_bytes, 'MiB')} ({by_phase}; {memory.method})")
    return "; ".join(parts)


def _quality_text(quality: Quality) -> str:
    parts = [
        f"WER {quality.wer_value:.4f}{_between(quality.wer_interval)} of {quality.samples} samples",
        f"normalisation {quality.normalisation}",
    ]
    for label, value in (
        ("mean over samples", quality.wer_mean),
        ("best of references", quality.wer_best),
        ("exact match", quality.exact_match),
        ("VQA accuracy", quality.vqa_accuracy),
    ):
        if value is not None:
            parts.append(f"{label} {value:.4f}")
    return "; ".join(parts)


def _unclaimed(interval: Interval | None) -> Iterator[tuple[str, str]]:
    """Why the brackets of the line above are not called 95 %, where they are not."""
    if interval is not None and interval.confidence is None:
        yield "", f"no coverage is claimed for the brackets: {interval.reason}"


def _between(interval: Interval | None, scale: float = 1.0) -> str:
    if interval is None:
        return " (too few for an interval)"
    return f" [{interval.low / scale:.4g}, {interval.high / scale:.4g}]"


def _s(ns: float) -> str:
    return f"{ns / NS_PER_S:.4g}"
