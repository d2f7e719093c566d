"""A run in, labelled lines out: how its numbers were made, and on what machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from layerscope.core.units import ms_grouped, size_text
from layerscope.records import RunRecord
from layerscope.records.work import FLOP_CONVENTION
from layerscope.report.html.headline import interval_methods
from layerscope.report.html.sent_run import SentRun
from layerscope.report.use import floor_lines

# Where files went on the machine that ran says nothing about the run.
_UNSAID = frozenset({"out", "data_dir", "images"})


def method_lines(sent: SentRun) -> Iterator[tuple[str, str]]:
    """(label, text): definitions, the methods of the intervals, conventions, what profiling costs."""
    record, report = sent.record, sent.record.report
    yield "latency", report.latency.definition
    yield "energy", report.energy.definition
    if sent.work is not None:
        yield "FLOPs", f"{report.flops.definition}; {sent.work.flop_convention}"
        if sent.work.missing:
            yield "missing", sent.work.missing_text
        yield "bytes", sent.work.bytes_rule
        if sent.work.uncounted:
            named = ", ".join(f"{op.operator} ({op.calls:,} calls)" for op in sent.work.uncounted)
            yield "not counted", f"operators that compute and hold no products: {named}"
    else:
        convention = "" if FLOP_CONVENTION in report.flops.definition else f"; {FLOP_CONVENTION}"
        yield "FLOPs", f"{report.flops.definition}{convention}"
    yield "WER", report.wer_value.definition
    for name, method in interval_methods(record):
        yield f"{name} interval", method
    yield from _profiling(record)
    if sent.account is not None:
        yield (
            "account",
            "every device event belongs to exactly one (layer, phase) or named bucket; self is a "
            "layer without the layers below it; rows are integer nanoseconds and sum to the whole",
        )
    if record.ceilings is not None:
        yield "ceilings by", f"{record.ceilings.method}; {record.ceilings.measured_utc}"
    if sent.verified:
        yield "files", sent.verified
    use = sent.use
    if use is not None:
        yield from floor_lines(use, record)


def _profiling(record: RunRecord) -> Iterator[tuple[str, str]]:
    trace = record.trace
    if trace is None:
        return
    text = f"the profiled batch took {ms_grouped(trace.profiled_ns)} ms"
    if trace.unprofiled_ns:
        text += (
            f", the same batch unprofiled {ms_grouped(trace.unprofiled_ns)} ms: "
            f"{trace.profiled_ns / trace.unprofiled_ns:.2f} times as long"
        )
    yield "profiling", f"{text}; latency and energy come from unprofiled batches alone"


def environment_lines(record: RunRecord) -> Iterator[tuple[str, str]]:
    """(label, text): machine and software as the run recorded them; what is unknown is left out."""
    held = record.environment
    if held.gpu_name:
        parts = [held.gpu_name, f"{held.gpu_count} visible"]
        for value, text in (
            (held.gpu_memory_bytes, size_text(held.gpu_memory_bytes or 0, "GiB")),
            (held.gpu_sm_clock_mhz, f"SM clock {held.gpu_sm_clock_mhz} MHz"),
            (held.gpu_memory_clock_mhz, f"memory clock {held.gpu_memory_clock_mhz} MHz"),
            (held.gpu_temperature_c, f"{held.gpu_temperature_c} °C"),
            (held.gpu_power_limit_w, f"power limit {held.gpu_power_limit_w or 0:g} W"),
        ):
            if value is not None:
                parts.append(text)
        yield "GPU", "; ".join(parts)
    if held.driver or held.cuda:
        yield "driver", f"{held.driver or 'unknown'}; CUDA {held.cuda or 'unknown'}"
    memory = f"; {size_text(held.memory_bytes, 'GiB')} memory" if held.memory_bytes else ""
    yield "CPU", f"{held.cpu_model}; {held.cpu_count} CPUs{memory}"
    yield "platform", f"{held.platform}; Python {held.python}"
    yield "layerscope", held.layerscope
    if held.packages:
        yield "packages", ", ".join(f"{name} {version}" for name, version in held.packages.items())


def config_lines(record: RunRecord) -> Iterator[tuple[str, str]]:
    """(field, value) of the resolved configuration, in its own order; of a capture what it knows."""
    config = record.config
    if config is None:
        yield "device", record.how.device
        yield "fp32_matmul", record.how.fp32_matmul
        return
    for item in fields(config):
        value = getattr(config, item.name)
        if item.name not in _UNSAID and value is not None:
            yield item.name, str(value)
