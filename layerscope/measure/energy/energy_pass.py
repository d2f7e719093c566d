"""The energy pass: meters and work in, one `EnergyRecord` of raw windows (or the reason) out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from layerscope.measure.clock import Clock
from layerscope.measure.energy.meter import Meter
from layerscope.measure.energy.window import WindowTiming, Work, idle_window, work_window
from layerscope.records.energy_record import (
    DeviceState,
    EnergyAbsent,
    EnergyRecord,
    EnergyWindow,
)


def measure_energy(
    meters: Sequence[Meter] | EnergyAbsent,
    works: Sequence[Work],
    clock: Clock,
    *,
    timing: WindowTiming | None = None,
    states: Callable[[], Sequence[DeviceState]] | None = None,
    driver: str | None = None,
) -> EnergyRecord:
    """Measure idle power, then one window for each of `works`, in that order.

    Args:
        meters: the counters of every device that holds the model, or why there are none.
        works: one per window; each runs one whole batch and returns with the device synchronised.
            A window repeats its work until it is long enough.
        states: reads temperature, clocks and throttle reasons; called after each window's work.

    Returns:
        The record. Where a counter failed, `reason` is set and the windows before it are kept, but
        no number may be quoted from them.
    """
    if isinstance(meters, EnergyAbsent):
        return EnergyRecord(driver=driver, reason=meters.reason)
    if not meters:
        return EnergyRecord(driver=driver, reason="no energy counter was given for this device")
    sources = tuple(meter.source for meter in meters)
    idle = idle_window(meters, clock, timing)
    if isinstance(idle, EnergyAbsent):
        return EnergyRecord(sources=sources, driver=driver, reason=idle.reason)
    windows: list[EnergyWindow] = []
    seen: list[DeviceState] = []
    reason = None

    def note() -> None:
        if states is not None:
            seen.extend(states())

    for work in works:
        window = work_window(meters, work, clock, timing, after_work=note)
        if isinstance(window, EnergyAbsent):
            reason = window.reason
            break
        windows.append(window)
    return EnergyRecord(
        sources=sources,
        driver=driver,
        idle=idle,
        windows=tuple(windows),
        states=tuple(seen),
        reason=reason,
    )
