"""Raw windows of replayed layers in, energy by layer and its files out; and back. Needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from layerscope.core.errors import DataError
from layerscope.core.files import LAYER_ENERGY_FILE, REPLAY_FILE, write_json
from layerscope.core.folder_file import read_json_if_there
from layerscope.joules.end_to_end_energy import MeasuredWhole
from layerscope.joules.layer_energy import LayerEnergy, layer_energy, with_energy
from layerscope.records import EnergyRecord, LatencySample, TracePass
from layerscope.records.layer_energy import ReplayRecord, ReplayWindow
from layerscope.report.layer_energy import write_layer_energy_csv
from layerscope.runs.examine import Examined


def energy_of(
    examined: Examined,
    replay: ReplayRecord,
    energy: EnergyRecord | None,
    trace: TracePass,
    latency: Sequence[LatencySample],
    compiled: Sequence[str],
) -> LayerEnergy:
    """Energy by layer of a run, from its raw parts."""
    table = examined.account.table
    whole = MeasuredWhole(energy, trace, latency)
    return layer_energy(table, examined.idle, replay, whole, compiled)


def with_layer_energy(examined: Examined, found: LayerEnergy) -> Examined:
    """The same account with the joules in its rows."""
    account = examined.account
    table = with_energy(account.table, found)
    return dataclasses.replace(examined, account=dataclasses.replace(account, table=table))


def write_layer_energy(replay: ReplayRecord, found: LayerEnergy, folder: Path) -> dict[str, str]:
    """Write the raw windows and, where there is energy, the table; returns role -> file name."""
    write_json(folder / REPLAY_FILE, replay, indented=False)
    files = {"replay": REPLAY_FILE}
    if found.reason is None:
        write_layer_energy_csv(found, folder / LAYER_ENERGY_FILE)
        files["layer_energy"] = LAYER_ENERGY_FILE
    return files


def read_replay(path: Path) -> ReplayRecord | None:
    """The raw windows of a run's replay; None where it has none.

    Raises:
        DataError: the file is damaged.
    """
    record = read_json_if_there(path, ReplayRecord, "a record of replayed layers")
    if record is None:
        return None
    for unit in record.units:
        if not unit.replayed or not all(_sound(window) for window in unit.windows):
            raise DataError(
                f"{path}: not a record of replayed layers (a window of {unit.name} that no meter "
                "and no clock can have written)."
            )
    return record


def _sound(window: ReplayWindow) -> bool:
    """Whether the window has passes, time in them, and a counter's edges one after the other."""
    edges = [(c.start, c.landed, c.end, c.after) for c in window.window.counters]
    return (
        window.passes > 0
        and window.busy_s > 0
        and bool(edges)
        and all(
            start.time_ns < end.time_ns < after.time_ns and landed.time_ns < end.time_ns
            if landed is not None and after is not None
            else False
            for start, landed, end, after in edges
        )
    )
