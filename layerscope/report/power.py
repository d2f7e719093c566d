"""Power samples in, `power.csv` out: power over time of a window of its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from layerscope.core.files import POWER_FILE
from layerscope.records import PowerSample
from layerscope.report.csv_lines import write_csv

_HEADER = ("time_ns", "device", "power_w", "sm_clock_mhz", "temperature_c")


def write_power_csv(samples: Iterable[PowerSample], folder: Path) -> dict[str, str]:
    """Write the file; returns role -> file name. `time_ns` is the machine's monotonic clock.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    rows = (
        [
            str(sample.time_ns),
            sample.device,
            f"{sample.power_w:.3f}",
            _number(sample.sm_clock_mhz),
            _number(sample.temperature_c),
        ]
        for sample in samples
    )
    write_csv(folder / POWER_FILE, _HEADER, rows)
    return {"power": POWER_FILE}


def _number(value: int | None) -> str:
    return "" if value is None else str(value)
