"""A run's record in, the FLOPs of its last batch out: the batch whose FLOPs the reference states."""

from __future__ import annotations

from layerscope.records import BatchRecord, RunRecord
from layerscope.records.sweep import Estimate


def last_batch_flops(record: RunRecord) -> Estimate:
    """FLOPs of the last batch, which may hold fewer samples than the counted one.

    Every operator that is counted works on each row of a batch alike, so batches of equal lengths
    and equal decoder steps differ by their number of rows alone. Where lengths differ it is absent.
    """
    if record.report.flops.value is None:
        return Estimate(reason=record.report.flops.reason)
    batches = record.batches
    counted = batches[0 if record.trace is None else record.trace.batch or 0]
    last = batches[-1]
    steps = {
        sample.batch: sample.decoder_steps
        for sample in record.latency
        if not sample.warmup and sample.repeat == 0
    }
    differs = [
        f"{name} {ours} against {theirs}"
        for name, ours, theirs in (
            *_lengths(counted, last),
            ("decoder steps", steps.get(counted.index), steps.get(last.index)),
        )
        if ours != theirs
    ]
    if differs:
        return Estimate(
            reason=f"the last batch differs from the counted one in {', '.join(differs)}"
        )
    whole, rest = divmod(
        int(record.report.flops.value) * len(last.sample_ids), len(counted.sample_ids)
    )
    if rest:
        return Estimate(reason="the counted FLOPs are not the same for every sample of the batch")
    return Estimate(value=float(whole))


def _lengths(counted: BatchRecord, last: BatchRecord) -> tuple[tuple[str, object, object], ...]:
    return (
        ("pixels", counted.pixel_values_shape[1:], last.pixel_values_shape[1:]),
        ("padded text", counted.padded_text_length, last.padded_text_length),
        ("padded Q-Former text", counted.padded_qformer_length, last.padded_qformer_length),
    )
