"""The process that polls power: device names in, CSV lines in a file out, until its stdin closes.

Run as `python -m layerscope.measure.energy.power_child`. Its first line on stdout is `ready`, or
`absent: <reason>`. It must import neither torch nor transformers: it would use the GPU it watches.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from layerscope.measure.energy.meter import MeterLost
from layerscope.measure.energy.nvml import NvmlDevice, close, open_devices
from layerscope.records.energy_record import EnergyAbsent

READY = "ready"
ABSENT = "absent: "


def main(arguments: Sequence[str]) -> int:
    """Poll until stdin closes. Arguments: library, period in seconds, file, device names."""
    # Ctrl-C reaches the whole process group; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    library, period, path, *identifiers = arguments
    devices = open_devices(identifiers, library)
    if isinstance(devices, EnergyAbsent):
        print(ABSENT + devices.reason, flush=True)
        return 0
    with open(path, "w", encoding="utf-8") as out:
        try:
            _write(devices, out)  # the first sample precedes "ready": the block is covered
        except MeterLost as lost:
            print(f"{ABSENT}{lost}", flush=True)
            return 0
        print(READY, flush=True)
        try:
            _poll(devices, float(period), out)
        except MeterLost as lost:
            out.write(f"{ABSENT}{lost}\n")
    close(devices[0].library)
    return 0


def _poll(devices: Sequence[NvmlDevice], period_s: float, out: TextIO) -> None:
    """Write samples until the parent closes stdin or dies; the last sample follows that moment.

    Raises:
        MeterLost: a device does not give its power any more.
    """
    parent = os.getppid()
    due = time.monotonic()
    ended = False
    while not ended:
        due = max(due + period_s, time.monotonic())
        # stdin doubles as the alarm clock: it becomes readable the moment the parent closes it or
        # dies. A forked sibling may hold it open, hence the look at the parent.
        readable, _, _ = select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))
        ended = bool(readable) or os.getppid() != parent
        _write(devices, out)


def _write(devices: Sequence[NvmlDevice], out: TextIO) -> None:
    for device in devices:
        out.write(_line(device))
    out.flush()


def _line(device: NvmlDevice) -> str:
    """One CSV line; the power is dated to the middle of its own read."""
    before_ns = time.monotonic_ns()
    power_w = device.read_power_w()
    time_ns = (before_ns + time.monotonic_ns()) // 2
    cells = (time_ns, device.name, f"{power_w:.3f}", device.sm_clock_mhz(), device.temperature_c())
    return ",".join("" if cell is None else str(cell) for cell in cells) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
