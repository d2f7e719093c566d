"""A run's raw times in, the host's work beside each batch out: the processor's, and the copy's.

Both end before `generate()` begins, so they lie outside the traced window: no row and no sum of the
account holds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from layerscope.records.run_record import LatencySample, RunRecord

Name = Literal["preprocessing", "copy to the device"]
# Batches of random numbers, which no processor made.
DRAWN_DATASET = "synthetic-random"
_DRAWN = "the inputs were drawn, so no processor ran"
_NONE_TIMED = "no full batch was prepared and timed"


@dataclass(frozen=True, kw_only=True, slots=True)
class BesideBatch:
    """One thing that the host does before each batch.

    Attributes:
        host_ns: median over the full batches that were prepared, without the profiler; None where it
            was not measured, and `reason` says why.
        generate_ns: the run's latency: median of generate() over all full batches, repeats included.
        batches: how many were prepared.
    """

    name: Name
    host_ns: int | None
    generate_ns: int | None
    batches: int
    reason: str = ""

    @property
    def share(self) -> float | None:
        """Host time over generate()'s own; None where either is not known."""
        if self.host_ns is None or not self.generate_ns:
            return None
        return self.host_ns / self.generate_ns


def beside_batch(record: RunRecord) -> tuple[BesideBatch, ...]:
    """Preprocessing and copy; nothing of a capture, which does not see what comes before a batch."""
    if record.workload is None:
        return ()
    return beside_of(record.latency, record.workload.dataset)


def beside_of(samples: Sequence[LatencySample], dataset: str) -> tuple[BesideBatch, ...]:
    """The same from raw samples.

    Args:
        samples: all of a run's. Warm-ups and partial batches count for nothing; repeats, whose inputs
            were ready, for the latency alone.
        dataset: the inputs of `synthetic-random` come from no processor.
    """
    full = [s for s in samples if s.full and not s.warmup]
    timed = [s for s in full if s.preprocess_ns is not None]
    before = [s.preprocess_ns for s in timed if s.preprocess_ns is not None]
    generate = _median_ns([s.generate_ns for s in full])
    drawn = dataset == DRAWN_DATASET
    measured: tuple[tuple[Name, int | None], ...] = (
        ("preprocessing", None if drawn else _median_ns(before)),
        ("copy to the device", _median_ns([s.copy_ns for s in timed])),
    )
    return tuple(
        BesideBatch(
            name=name,
            host_ns=host,
            generate_ns=generate,
            batches=len(timed),
            reason="" if host is not None else _NONE_TIMED if not timed else _DRAWN,
        )
        for name, host in measured
    )


def _median_ns(values: Sequence[int]) -> int | None:
    return round(median(values)) if values else None
