"""What a process that is followed writes while it runs, and `layerscope run` reads when it has ended.

A line a timed call, a line a model at the end, a folder a window. All of it is bounded: a service may
run for weeks.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from layerscope.core.files import WORK_FILE
from layerscope.core.words import kind_and_first_line
from layerscope.run.program.asked import Asked

CALLS, NOTES, COUNTS, BLOCK = "calls.jsonl", "notes.txt", "counts.json", "block.json"
CALLS_BEFORE = "calls-before.jsonl"  # the thousand before those in CALLS
# Beside a window's block: the energy of the calls behind it, the GPUs whose counters were read, the work
# of a counted call, or why none was.
ENERGY, DEVICES, UNCOUNTED = "energy.json", "devices.json", "uncounted.txt"
WORK = WORK_FILE
READY = "ready"  # nothing more comes of this window
_MOST_CALLS = 1000  # a file
_MOST_NOTES = 20
_AT_MOST_S = 0.2  # calls wait so long, then they are written: all but these are kept, come what may


class Spool:
    """The folder of one process, made with the first thing that it has to say."""

    def __init__(self, asked: Asked, pid: int) -> None:
        self._asked = asked
        self.folder = asked.folder(pid)
        self._calls = self._notes = 0
        self._waiting: list[tuple[str, bool, int, float]] = []
        self._written = 0.0
        self._open: dict[
            str, int
        ] = {}  # descriptors; what is written stands, however the process ends
        self._counts: list[dict[str, Any]] = []

    def of_this_process(self) -> Spool:
        """The spool of a fork."""
        return Spool(self._asked, os.getpid())

    def timed(self, model: str, generates: bool, number: int, took_s: float) -> None:
        """A call that was not traced."""
        self._waiting.append((model, generates, number, took_s))
        now = time.monotonic()
        if now - self._written >= _AT_MOST_S or len(self._waiting) == _MOST_CALLS:
            self._written = now
            self.flush()

    def flush(self) -> None:
        """Write the calls that wait."""
        if not self._waiting:
            return
        if self._calls + len(self._waiting) > _MOST_CALLS and CALLS in self._open:
            os.close(self._open.pop(CALLS))
            os.replace(self.folder / CALLS, self.folder / CALLS_BEFORE)
            self._calls = 0
        self._append(CALLS, "\n".join(map(_line, self._waiting)))
        self._calls += len(self._waiting)
        self._waiting.clear()

    def counted(self, model: str, generates: bool, calls: int, params: int, windows: int) -> None:
        """A model and all its calls."""
        self._counts.append(
            {"model": model, "generates": generates, "calls": calls, "params": params,
             "windows": windows}
        )  # fmt: skip
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / COUNTS).write_text(json.dumps(self._counts), encoding="utf-8")

    def note(self, said: Exception | str) -> None:
        """One line that `layerscope run` prints at the end."""
        self._notes += 1
        if self._notes <= _MOST_NOTES:
            text = said if isinstance(said, str) else kind_and_first_line(said)
            self._append(NOTES, text)

    def new_window(self, number: int) -> Path:
        """A folder for a window; the oldest beyond those that are kept goes."""
        self.flush()
        folder = self.folder / f"window-{number:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(self.folder.glob("window-*"))[: -self._asked.keep]:
            shutil.rmtree(old, ignore_errors=True)
        return folder

    def _append(self, name: str, line: str) -> None:
        if name not in self._open:
            self.folder.mkdir(parents=True, exist_ok=True)
            how = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._open[name] = os.open(self.folder / name, how, 0o600)
        os.write(self._open[name], f"{line}\n".encode())


_as_json = lru_cache(maxsize=64)(json.dumps)


def _line(call: tuple[str, bool, int, float]) -> str:
    """A call as JSON, in a fifth of the time that `json` takes."""
    model, generates, number, took_s = call
    return f"[{_as_json(model)}, {'true' if generates else 'false'}, {number}, {took_s!r}]"


def spooled(spool: Path) -> Iterator[Path]:
    """The folders of the processes that said something, in the order of their numbers."""
    found = (path for path in spool.iterdir() if path.name.isdecimal())
    yield from sorted(found, key=lambda path: int(path.name))


def tail_of(place: int, processes: int) -> str:
    """Of a run folder's name, where several processes have some."""
    return f"-process{place + 1}" if processes > 1 else ""
