"""What the processes of a program wrote in, their run folders and what is to be said of them out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from layerscope.core.errors import DataError, LayerscopeError
from layerscope.core.files import TRACE_FILE
from layerscope.core.folder_file import read_json_if_there
from layerscope.core.run_name import as_word, stamp_of
from layerscope.core.words import counted
from layerscope.measure.clock import Clock, SystemClock
from layerscope.records.energy_record import EnergyAbsent
from layerscope.records.program_energy import ProgramEnergy
from layerscope.records.run_record import ProgramRecord
from layerscope.records.work import CountedWork
from layerscope.run.program.counters import OpenMeters, close_meters, open_meters, step_of
from layerscope.run.program.spool import (
    BLOCK,
    CALLS,
    COUNTS,
    DEVICES,
    ENERGY,
    NOTES,
    UNCOUNTED,
    WORK,
    spooled,
)
from layerscope.write.captured import Block, save_block

_GENERATE, _CALL = "generate()", "the model's call"


@dataclass
class Finished:
    """The run folders of a program, the newest last, and lines about what was not traced."""

    folders: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def finish(spool: Path, out: Path, program: str, step: int) -> Finished:
    """Write a run folder for every window of every process.

    Args:
        spool: what the processes wrote.
        out: the folder that the run folders are made in.
        program: the program's name, without arguments.
        step: the call that was to be traced first.

    Raises:
        EnvironmentProblem: a run folder cannot be written.
    """
    found = Finished()
    processes = list(spooled(spool))
    for place, process in enumerate(processes):
        tail = f"-process{place + 1}" if len(processes) > 1 else ""
        for window in sorted(process.glob("window-*")):
            _saved(window, process, out, program, tail, found)
        found.notes.extend(_notes(process))
    found.notes.extend(_hook_notes(spool))
    if found.folders:
        found.notes = [
            note for note in found.notes if "not traced: " not in note
        ]  # a later call was
    if not found.folders and not found.notes:
        found.notes.append(_why_nothing(processes, step))
    return found


def _saved(
    window: Path, process: Path, out: Path, program: str, tail: str, found: Finished
) -> None:
    if not (window / BLOCK).is_file():
        found.notes.append(f"the program ended inside {window.name}: no trace")
        return
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
        untraced_s=_untraced(process, called, block.device),
        energy=energy_of(window),
    )
    work, uncounted = _work(window)
    trace = window / TRACE_FILE
    block = replace(block, trace=trace, program=seen, work=work, uncounted=uncounted)
    folder = _free(out, f"{stamp_of(block.ended)}-{as_word(called['model'])}-run{tail}")
    try:
        save_block(block, folder)
    except LayerscopeError as error:
        found.notes.append(f"{window.name} not saved: {error}")
        return
    found.folders.append(folder)


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
    path = process / CALLS
    if not path.is_file():
        return ()
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    wanted = called["model"], called["generates"]
    return tuple(
        took for name, made, number, took in lines if (name, made) == wanted and number > 1
    )


def _notes(process: Path) -> Iterator[str]:
    path = process / NOTES
    if path.is_file():
        yield from dict.fromkeys(path.read_text(encoding="utf-8").splitlines())


def _hook_notes(spool: Path) -> Iterator[str]:
    """What the hook itself could not do: a Python without what layerscope needs."""
    for path in sorted(spool.glob("*.note")):
        yield from dict.fromkeys(path.read_text(encoding="utf-8").splitlines())


def _why_nothing(processes: Sequence[Path], step: int) -> str:
    counts = [
        model
        for process in processes
        if (process / COUNTS).is_file()
        for model in json.loads((process / COUNTS).read_text(encoding="utf-8"))
    ]
    if not counts:
        return "no torch module was called by a Python that layerscope follows: nothing was traced"
    most = max(counts, key=lambda model: model["params"])
    call = "generate()" if most["generates"] else "calls"
    return (
        f"{most['model']} had {counted(most['calls'], 'call')} ({call}), and call {step} was to be "
        f"traced; give --step {max(most['calls'], 1)} or less"
    )
