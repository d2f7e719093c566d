"""Raw samples of a run in, the four numbers of the reference out, each with its definition."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from layerscope.records import (
    CountedWork,
    EnergyRecord,
    LatencySample,
    Quality,
    Report,
    Reported,
    RunConfig,
)
from layerscope.stats.energy_summary import summarise_energy


def headline(
    config: RunConfig,
    latency: Sequence[LatencySample],
    energy: EnergyRecord,
    quality: Quality,
    work: CountedWork,
) -> Report:
    """The reference's four numbers."""
    full = [s.generate_ns for s in latency if s.full and not s.warmup]
    joules = summarise_energy(energy, seed=config.seed)
    return Report(
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
