"""What the processes of a program wrote in, their run folders and what is to be said of them out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from layerscope.core.errors import LayerscopeError
from layerscope.core.words import counted
from layerscope.run.program.save_window import save_window
from layerscope.run.program.spool import BLOCK, COUNTS, NOTES, spooled, tail_of


@dataclass
class Finished:
    """The run folders of a program, the newest last, and lines about what was not traced."""

    folders: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def finish(
    spool: Path, out: Path, program: str, step: int, saved: Mapping[Path, Path] | None = None
) -> Finished:
    """Write a run folder for every window of every process.

    Args:
        spool: what the processes wrote.
        out: the folder that the run folders are made in.
        program: the program's name, without arguments.
        step: the call that was to be traced first.
        saved: windows whose run folders were written while the program ran.

    Raises:
        EnvironmentProblem: a run folder cannot be written.
    """
    found = Finished()
    processes = list(spooled(spool))
    for place, process in enumerate(processes):
        tail = tail_of(place, len(processes))
        for window in sorted(process.glob("window-*")):
            if saved is not None and window in saved:
                found.folders.append(saved[window])
            else:
                _saved(window, out, program, tail, found)
        found.notes.extend(_notes(process))
    found.notes.extend(_hook_notes(spool))
    if found.folders:
        found.notes = [
            note for note in found.notes if "not traced: " not in note
        ]  # a later call was
    if not found.folders and not found.notes:
        found.notes.append(_why_nothing(processes, step))
    return found


def _saved(window: Path, out: Path, program: str, tail: str, found: Finished) -> None:
    if not (window / BLOCK).is_file():
        found.notes.append(f"the program ended inside {window.name}: no trace")
        return
    try:
        found.folders.append(save_window(window, out, program, tail))
    except LayerscopeError as error:
        found.notes.append(f"{window.name} not saved: {error}")


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
