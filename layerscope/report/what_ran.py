"""A run's record in, labelled lines saying what ran, on what and on which inputs, out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from layerscope.config.optimize import beside_fields
from layerscope.core.run_config import RunConfig
from layerscope.core.units import size_text
from layerscope.records.run_record import (
    BatchRecord,
    Environment,
    ProgramRecord,
    RunRecord,
    WorkloadRecord,
)

_MOST_DIFFERENCES = 5


def what_ran(record: RunRecord) -> Iterator[tuple[str, str]]:
    """(label, text) for the model, its dtypes, the device, the data and one full batch's inputs."""
    model = record.model
    for choice in record.choices:
        yield "chosen", choice
    yield (
        "model",
        f"{model.name} ({model.source}; {model.weights}): {model.params:,} parameters, "
        f"{size_text(model.param_bytes, 'MB')}",
    )
    if model.load_s is not None:
        peak = model.host_peak_bytes
        held = f"; {size_text(peak, 'GB')} of host memory at the peak" if peak is not None else ""
        yield "loaded", f"in {model.load_s:.1f} s{held}"
    dtypes = ", ".join(f"{name} {n:,} parameters" for name, n in model.dtypes.items())
    yield "dtypes", dtypes or "none: the model has no parameters"
    yield "device", _device(record.how.device, record.environment)
    yield "mode", f"{_mode(record)}; attention {_attention(model.attention)}"
    yield from _optimization(record)
    if record.workload is None:
        yield from _of_a_block(record)
        return
    yield "data", f"{_data(record.workload)}: {record.workload.source}"
    batch = batch_shown(record)
    if batch is None:
        yield "batch", "none ran"
        return
    yield "batch", f"{len(batch.sample_ids)} samples; {_inputs(batch)}"
    yield from _generated(record, batch)


def in_short(record: RunRecord) -> Iterator[str]:
    """The device, the dtype, how the model ran and on what data: a few words each."""
    environment, config = record.environment, record.config
    on_gpu = record.how.device == "cuda"
    yield (environment.gpu_name or "GPU, name unknown") if on_gpu else environment.cpu_model
    yield config.dtype if config is not None else "+".join(record.model.dtypes) or "no parameters"
    yield _mode(record)
    if record.workload is not None:
        yield _data(record.workload)


def _data(workload: WorkloadRecord) -> str:
    return f"{workload.dataset}{' (synthetic)' if workload.synthetic else ''}"


def _of_a_block(record: RunRecord) -> Iterator[tuple[str, str]]:
    """What stands in place of data and batch where the program's own block was captured."""
    yield "data", f"not known: {dict(record.absent).get('data', 'no reason recorded')}"
    program = record.captured.program if record.captured is not None else None
    if program is not None:
        yield from _of_a_program(program)
    steps = record.trace.decoder_steps if record.trace is not None else None
    if steps is not None:
        yield "steps", f"{steps} decoder steps, as the program counted them"


def _of_a_program(program: ProgramRecord) -> Iterator[tuple[str, str]]:
    last = program.first_call + program.calls - 1
    which = f"call {program.first_call}" + (f" to {last}" if program.calls > 1 else "")
    reach = ", with all that follows until the next call" if program.trains else ""
    yield "program", f"{program.name}: {which} of {program.call}{reach}"
    shapes = (f"{name} {' x '.join(map(str, shape))}" for name, shape in program.shapes.items())
    if program.shapes:
        yield "inputs", "; ".join(shapes)


def _mode(record: RunRecord) -> str:
    if record.config is not None:
        return mode_of(record.config)
    return ", ".join(["captured", *_tf32(record.how.fp32_matmul)])


def _tf32(fp32_matmul: str) -> list[str]:
    return [f"fp32 matmul {fp32_matmul} (TF32)"] if fp32_matmul != "highest" else []


def mode_of(config: RunConfig) -> str:
    """How the model ran: the optimization, and what goes with it where that is not the default."""
    words: list[str] = [config.optimization, *_tf32(config.fp32_matmul)]
    if config.coordinate_descent_tuning:
        words.append("coordinate descent tuning")
    words.extend(beside_fields(config))
    return ", ".join(words)


def _optimization(record: RunRecord) -> Iterator[tuple[str, str]]:
    """What was compiled, what fell back, and how the tokens compare with eager ones."""
    found = record.optimization
    if found is None:
        return
    compiled = [part for part in found.parts if not part.left_eager]
    parts = ", ".join(
        f"{part.part} {part.graphs if part.calls else '0 (never called as a whole)'}"
        for part in compiled
    )
    seconds = sum(part.compile_s for part in found.parts)
    breaks = sum(found.graph_breaks.values())
    tuned = f", {found.tuned_graphs} tuned by coordinate descent" if found.tuned_graphs else ""
    yield (
        "compiled",
        f"graphs: {parts or 'none'}{tuned}; {breaks} graph breaks; {seconds:.1f} s compiling",
    )
    for words in found.fell_back:
        yield "", f"fell back: {words}"
    for reason, count in found.graph_breaks.items():
        yield "", f"graph break, {count} times: {reason}"
    held = record.memory.kv_cache_bytes if record.memory is not None else None
    if held is not None and found.growing_cache_bytes is not None:
        grown = found.growing_cache_bytes
        yield (
            "static cache",
            f"{size_text(held, 'MB')}; eagerly it grows to {size_text(grown, 'MB')}",
        )
    tokens = found.tokens
    if tokens is None:
        return
    yield "tokens", f"{tokens.equal} of {tokens.samples} samples equal to eager"
    for item in tokens.differences[:_MOST_DIFFERENCES]:
        gap = "its end" if item.logit_gap is None else f"an eager logit gap of {item.logit_gap:.4g}"
        yield "", f"{item.sample_id} differs from token {item.position} on, at {gap}"


def batch_shown(record: RunRecord) -> BatchRecord | None:
    """The traced batch, or the first one of a run without a trace; None when no batch ran."""
    if record.trace is not None:
        for batch in record.batches:
            if batch.index == record.trace.batch:
                return batch
    return next(iter(record.batches), None)


def _device(device: str, environment: Environment) -> str:
    software = f"torch {environment.torch or 'unknown'}"
    if device == "cuda":
        cuda = f", CUDA {environment.cuda}" if environment.cuda else ""
        driver = f", driver {environment.driver}" if environment.driver else ""
        return f"cuda: {environment.gpu_name or 'name unknown'}; {software}{cuda}{driver}"
    threads = environment.torch_threads
    used = f", {threads} threads" if threads else ""
    return f"cpu: {environment.cpu_model}, {environment.cpu_count} CPUs; {software}{used}"


def _attention(parts: dict[str, str]) -> str:
    kinds = dict.fromkeys(parts.values())
    if len(kinds) == 1:
        return next(iter(kinds))
    return ", ".join(f"{part or 'model'} {kind}" for part, kind in parts.items()) or "unknown"


def _inputs(batch: BatchRecord) -> str:
    shape = " x ".join(map(str, batch.pixel_values_shape))
    text = f"text {_range(batch.text_lengths)} tokens (padded {batch.padded_text_length})"
    parts = [f"pixel_values {shape}"]
    if any(batch.image_tokens) and not batch.qformer_lengths:
        parts.append(f"image {_range(batch.image_tokens)} tokens")
    parts.append(text)
    if batch.qformer_lengths:
        parts.append(
            f"Q-Former {_range(batch.qformer_lengths)} tokens "
            f"(padded {batch.padded_qformer_length})"
        )
    return "; ".join(parts)


def _generated(record: RunRecord, batch: BatchRecord) -> Iterator[tuple[str, str]]:
    """How many tokens and decoder steps the batch took, and how many answers are no text."""
    if record.trace is not None and record.trace.batch == batch.index:
        tokens, steps = record.trace.new_tokens, record.trace.decoder_steps
    else:
        timed = next((s for s in record.latency if s.batch == batch.index), None)
        if timed is None:
            return
        tokens, steps = timed.new_tokens, timed.decoder_steps
    yield "new tokens", f"{_range(tokens)} per sample; {steps} decoder steps"
    empty = sum(not prediction.prediction for prediction in record.predictions)
    if empty:
        yield "", f"{empty} of {len(record.predictions)} answers are no text: only special tokens"


def _range(values: Sequence[int]) -> str:
    if not values:
        return "0"
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"
