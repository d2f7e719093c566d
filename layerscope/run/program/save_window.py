"""What a process wrote of one window in, its run folder out; also as a process of its own.

python -m layerscope.run.program.save_window WINDOW OUT PROGRAM TAIL
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from layerscope.core.errors import DataError, LayerscopeError
from layerscope.core.files import TRACE_FILE
from layerscope.core.folder_file import read_json_if_there
from layerscope.core.run_name import as_word, stamp_of
from layerscope.measure.clock import Clock, SystemClock
from layerscope.records.energy_record import EnergyAbsent
from layerscope.records.program_energy import ProgramEnergy
from layerscope.records.run_record import ProgramRecord
from layerscope.records.work import CountedWork
from layerscope.run.program.counters import OpenMeters, close_meters, open_meters, step_of
from layerscope.run.program.spool import (
    BLOCK,
    CALLS,
    CALLS_BEFORE,
    DEVICES,
    ENERGY,
    UNCOUNTED,
    WORK,
)
from layerscope.write.captured import Block, save_block

_GENERATE, _CALL = "generate()", "the model's call"


def save_window(window: Path, out: Path, program: str, tail: str = "") -> Path:
    """Write the run folder of a window that has closed.

    Args:
        window: its folder in the spool of its process.
        out: the folder that the run folder is made in.
        program: the program's name, without arguments.
        tail: of the run folder's name.

    Returns:
        The run folder.

    Raises:
        LayerscopeError: it cannot be written.
    """
    raw = json.loads((window / BLOCK).read_text(encoding="utf-8"))
    block = msgspec.convert(raw["block"], Block, dec_hook=lambda _, text: Path(text))
    called = raw["called"]
    seen = ProgramRecord(
        name=program,
        call=_GENERATE if called["generates"] else _CALL,
        first_call=called["first"],
        calls=called["last"] - called["first"] + 1,
        trains=called["trains"],
        shapes={name: tuple(shape) for name, shape in called["shapes"].items()},
        traced_s=called["took_s"],
        untraced_s=_untraced(window.parent, called, block.device),
        energy=energy_of(window),
    )
    work, uncounted = _work(window)
    trace = window / TRACE_FILE
    block = replace(block, trace=trace, program=seen, work=work, uncounted=uncounted)
    folder = _free(out, f"{stamp_of(block.ended)}-{as_word(called['model'])}-run{tail}")
    save_block(block, folder)
    return folder


def energy_of(
    window: Path, meters: OpenMeters = open_meters, clock: Clock | None = None
) -> ProgramEnergy:
    """What was read behind a window, and how often the counters move, which the program was not kept
    waiting for."""
    try:
        energy = read_json_if_there(window / ENERGY, ProgramEnergy, "energy of a program's calls")
        uuids = read_json_if_there(window / DEVICES, list[str], "devices")
    except DataError as error:
        return ProgramEnergy(reason=str(error))
    if energy is None:
        return ProgramEnergy(reason="the program ended with the traced call")
    if energy.reason is not None or not any(len(stretch) > 1 for stretch in energy.stretches):
        return energy
    opened = meters(uuids or [])
    if isinstance(opened, EnergyAbsent):
        return replace(energy, reason=opened.reason)
    try:
        return replace(energy, counter_step_s=step_of(opened, clock or SystemClock()))
    finally:
        close_meters(opened)


def _work(window: Path) -> tuple[CountedWork | None, str]:
    """The work of a counted call, or why there is none; neither where none was asked for."""
    try:
        work = read_json_if_there(window / WORK, CountedWork, "a count of work")
    except DataError as error:
        return None, str(error)
    why = window / UNCOUNTED
    return work, why.read_text(encoding="utf-8") if work is None and why.is_file() else ""


def _free(out: Path, name: str) -> Path:
    """A folder that is not there yet: of two windows in one second the later has a number."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(out / free for free in names if not (out / free).exists())


def _untraced(process: Path, called: dict[str, Any], device: str) -> tuple[float, ...]:
    """What the other calls of the same model took, the first of all left out, which sets things up."""
    if device == "cuda" and not called["generates"]:
        return ()  # a call returns before the device is done
    files = (process / CALLS_BEFORE, process / CALLS)
    texts = [path.read_text(encoding="utf-8") for path in files if path.is_file()]
    lines = (json.loads(line) for text in texts for line in text.splitlines())
    wanted = called["model"], called["generates"]
    return tuple(
        took for name, made, number, took in lines if (name, made) == wanted and number > 1
    )


def main(arguments: Sequence[str]) -> int:
    """Save a window; print its run folder, or why there is none, which is exit code 1."""
    window, out, program, tail = arguments
    try:
        print(save_window(Path(window), Path(out), program, tail))
    except (LayerscopeError, OSError, ValueError) as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
