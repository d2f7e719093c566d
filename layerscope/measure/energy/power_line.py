"""The power time line: device names in, `PowerSample`s polled by a process of its own out."""

from __future__ import annotations

import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import IO

from layerscope.measure.energy.nvml import LIBRARY
from layerscope.measure.energy.power_child import ABSENT, READY
from layerscope.records.energy_record import EnergyAbsent, PowerSample

PERIOD_S = 0.05
_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0


class PowerLine:
    """Polls power while its `with` block runs, from a process that holds no GPU context.

    A thread would share the interpreter with a launch-bound `generate()` and slow it. Use it in a
    window of its own all the same: reading NVML costs the driver some time.

    Attributes:
        samples: filled when the block ends, in time order per device.
        absent: why there are no samples (no driver, no permission, the process died), else None.
    """

    def __init__(
        self, identifiers: Sequence[str], *, period_s: float = PERIOD_S, library: str = LIBRARY
    ) -> None:
        """Name the devices by UUID or PCI bus id; `library` is the module that speaks NVML."""
        self.samples: tuple[PowerSample, ...] = ()
        self.absent: EnergyAbsent | None = None
        self._arguments = (library, str(period_s))
        self._identifiers = tuple(identifiers)
        self._process: subprocess.Popen[str] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int | None:
        """The polling process's id while it runs."""
        return self._process.pid if self._process else None

    def __enter__(self) -> PowerLine:
        self._folder = tempfile.TemporaryDirectory(prefix="layerscope-power-")
        module = "layerscope.measure.energy.power_child"
        command = [sys.executable, "-m", module, *self._arguments, str(self._file)]
        try:
            self._process = subprocess.Popen(
                [*command, *self._identifiers],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            said = _first_line(self._process.stdout)
        except BaseException:  # Ctrl-C while it starts must not leave it behind
            self._stop()
            raise
        if said != READY:
            reason = said.removeprefix(ABSENT) or "the power polling process did not start"
            self.absent = EnergyAbsent(reason=reason)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def _file(self) -> Path:
        if self._folder is None:
            raise RuntimeError("PowerLine is used with `with`")
        return Path(self._folder.name) / "power.lines"

    def _stop(self) -> None:
        """End the process (kill it if it does not end by itself) and read what it wrote."""
        if self._process is not None:
            _end(self._process)
            self._process = None
        if self._folder is not None:
            if self.absent is None and self._file.exists():
                self.samples, self.absent = _read(self._file)
            self._folder.cleanup()
            self._folder = None


def integrate_j(
    samples: Sequence[PowerSample], start_ns: int, end_ns: int, device: str | None = None
) -> float | None:
    """Energy between two monotonic times by the trapezoid rule, power interpolated at both.

    Args:
        device: one device's name; None adds up all devices.

    Returns:
        Joules, or None when some device's samples do not reach from `start_ns` to `end_ns`.
    """
    names = [device] if device is not None else sorted({sample.device for sample in samples})
    total_j = 0.0
    for name in names:
        points = [(s.time_ns, s.power_w) for s in samples if s.device == name]
        energy_j = _trapezoid_j(points, start_ns, end_ns)
        if energy_j is None:
            return None
        total_j += energy_j
    return total_j if names else None


def _trapezoid_j(points: list[tuple[int, float]], start_ns: int, end_ns: int) -> float | None:
    points.sort()
    if not points or points[0][0] > start_ns or points[-1][0] < end_ns or end_ns < start_ns:
        return None
    total = 0.0
    for (t0, p0), (t1, p1) in pairwise(points):
        low, high = max(t0, start_ns), min(t1, end_ns)
        if high > low:
            slope = (p1 - p0) / (t1 - t0)
            total += (p0 + slope * ((low + high) / 2 - t0)) * (high - low)
    return total / 1e9


def _first_line(stream: IO[str] | None) -> str:
    """The process's first line, or "" when it ends or stays silent."""
    if stream is None or not select.select([stream], [], [], _START_TIMEOUT_S)[0]:
        return ""
    return stream.readline().strip()


def _end(process: subprocess.Popen[str]) -> None:
    try:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(timeout=_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pass
    finally:  # also when Ctrl-C interrupts the wait
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _read(path: Path) -> tuple[tuple[PowerSample, ...], EnergyAbsent | None]:
    """The samples in the file, and why it ends early if it does."""
    samples = []
    lost = None
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith(ABSENT):
            lost = EnergyAbsent(reason=line.removeprefix(ABSENT).strip())
        elif line.endswith("\n"):  # a killed process may leave half a line
            samples.append(_sample(line.rstrip("\n").split(",")))
    return tuple(samples), lost


def _sample(cells: list[str]) -> PowerSample:
    time_ns, device, power_w, sm_clock, temperature = cells
    return PowerSample(
        time_ns=int(time_ns),
        device=device,
        power_w=float(power_w),
        sm_clock_mhz=int(sm_clock) if sm_clock else None,
        temperature_c=int(temperature) if temperature else None,
    )
