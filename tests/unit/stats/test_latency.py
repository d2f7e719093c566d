"""A run's latency with the pace of its energy windows, by hand and on the committed runs."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from layerscope.records import EnergyRecord, LatencySample, RunRecord
from layerscope.records.energy_record import EnergyBatch, EnergyWindow
from layerscope.records.run_record import load
from layerscope.stats.latency import full_batches, latency_summary, later_paces

RESULTS = Path(__file__).parents[3] / "docs" / "results" / "h200"


def sample(batch: int, time_ns: int, **other: Any) -> LatencySample:
    return LatencySample(
        **{
            "batch": batch, "size": 4, "warmup": False, "full": True, "generate_ns": time_ns,
            "preprocess_ns": None, "copy_ns": 1, "decoder_steps": 3, "new_tokens": (3,) * 4,
        } | other
    )  # fmt: skip


def window(*batches: tuple[int, int]) -> EnergyWindow:
    return EnergyWindow(
        counters=(),
        batches=tuple(
            EnergyBatch(batch=batch, start_ns=7, end_ns=7 + time_ns, samples=4, new_tokens=12)
            for batch, time_ns in batches
        ),
    )


def record(latency: list[LatencySample], windows: tuple[EnergyWindow, ...]) -> RunRecord:
    energy = EnergyRecord(sources=("a counter",), windows=windows)
    return cast(RunRecord, SimpleNamespace(latency=latency, energy=energy, batch_size=4))


def test_a_batch_is_compared_with_itself() -> None:
    latency = [sample(0, 90, warmup=True), sample(0, 100), sample(1, 300), sample(2, 5, full=False)]
    found = record(
        latency,
        (
            window((0, 110), (0, 130), (0, 120)),  # 1.2 times batch 0
            window((1, 270), (1, 270)),  # 0.9 times batch 1, which is simply longer
            window((0, 900)),  # one batch says little of its window
            window((2, 5), (2, 5)),  # never measured as a full batch
        ),
    )
    assert [s.generate_ns for s in full_batches(found)] == [100, 300]
    assert later_paces(found) == (pytest.approx(1.2), pytest.approx(0.9))


def test_without_later_windows_the_samples_speak_alone() -> None:
    found = latency_summary(record([sample(0, 100 + i) for i in range(8)], ()))
    assert found is not None
    assert found.interval is not None
    assert found.interval.method == "order statistics, as if samples were independent"
    assert found.interval.confidence is None
    assert latency_summary(record([sample(0, 1, warmup=True)], ())) is None


def test_equal_runs_on_a_shared_host_overlap() -> None:
    """Three runs of one configuration on one H200: their own intervals did not, widened they do."""
    paths = [
        RESULTS / "xl-b16-eager" / "run.json",
        *sorted((RESULTS / "repeats").glob("*highest*")),
    ]
    runs = [load(path) for path in paths]
    assert len(runs) == 3
    intervals = [summary.interval for run in runs if (summary := latency_summary(run))]
    for one, other in combinations(intervals, 2):
        assert one is not None
        assert other is not None
        assert one.overlaps(other)
