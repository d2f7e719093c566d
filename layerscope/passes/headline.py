"""The four numbers of the reference, each with its definition."""

from __future__ import annotations

from statistics import median

from layerscope.passes.draft import Draft, known
from layerscope.passes.session import Session
from layerscope.records import Report, Reported
from layerscope.stats.energy_summary import summarise_energy


def headline(session: Session, draft: Draft) -> None:
    """Word error rate, latency, energy and FLOPs, from the raw samples."""
    config, quality, work = session.config, known(draft.quality), known(draft.work)
    full = [s.generate_ns for s in draft.latency if s.full and not s.warmup]
    joules = summarise_energy(known(draft.energy), seed=config.seed)
    draft.report = Report(
        wer_value=Reported(
            value=quality.wer_value,
            unit="",
            definition=(
                "corpus word error rate against the first reference, normalisation "
                f"{quality.normalisation}, {quality.samples} samples"
            ),
            reason=quality.reason,
        ),
        latency=Reported(
            value=median(full) / 1e9,
            unit="s/batch",
            definition=(
                f"generate() of a full batch of {config.batch_size}, unprofiled, median of "
                f"{len(full)} runs; preprocessing and copy to the device not included"
            ),
        ),
        energy=Reported(
            value=joules.joules_per_sample,
            unit="J/sample",
            definition="energy counter between its own edges, unprofiled full batches, per sample",
            reason=joules.reason,
        ),
        flops=Reported(
            value=work.flops,
            unit="FLOP/batch",
            definition=f"executed operators of one full batch, {work.flop_convention}",
            reason=work.missing_text or None,
        ),
    )
