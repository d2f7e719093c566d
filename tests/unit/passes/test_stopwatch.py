"""Where a command's own time went, by a clock that the test sets."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from layerscope.core.process_age import process_age_s
from layerscope.passes.stopwatch import Stopwatch
from layerscope.records.pass_time import PassTime
from layerscope.workload.calls import Calls


def _times(*times: float) -> Iterator[float]:
    return iter(times)


def test_parts_begin_with_the_process_and_know_what_they_ran() -> None:
    wall, cpu, calls = (
        _times(100.0, 100.5, 103.5, 104.0, 106.0),
        _times(1.5, 2.0, 4.0, 4.0, 4.5),
        Calls(),
    )
    watch = Stopwatch(calls, 2.0, wall.__next__, cpu.__next__)
    with watch.timing("load"):
        pass
    with watch.timing("trace"):
        calls.count += 3
    assert watch.parts == (
        PassTime(name="start", start_s=0.0, wall_s=2.0, cpu_s=1.5),
        PassTime(name="load", start_s=2.5, wall_s=3.0, cpu_s=2.0),
        PassTime(name="trace", start_s=6.0, wall_s=2.0, cpu_s=0.5, batches=3),
    )


def test_a_run_within_another_process_begins_at_nought_and_a_failed_part_is_none() -> None:
    watch = Stopwatch(Calls(), None, _times(7.0, 8.0).__next__, _times(1.0).__next__)
    with pytest.raises(LookupError), watch.timing("trace"):
        raise LookupError
    assert watch.parts == ()


def test_the_age_of_this_process_is_what_the_kernel_says(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    began = int((time.clock_gettime(time.CLOCK_BOOTTIME) - 12.0) * ticks)
    stat = tmp_path / "stat"
    stat.write_text(f"7 (a name) 0 (odd) S {' '.join('0' for _ in range(18))} {began} 5\n")
    age = process_age_s(stat)
    assert age is not None
    assert 11.9 < age < 13.0
    stat.write_text("7 (cut")
    assert process_age_s(stat) is None
    assert process_age_s(tmp_path / "none") is None


def test_a_child_s_age_counts_from_its_own_start() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import time; time.sleep(0.3)\n"
         "from layerscope.core.process_age import process_age_s\nprint(process_age_s())"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert 0.25 < float(said) < 30
