"""A command line in; the program run as if by itself, with the hook in front of it, its end out."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerscope.core.errors import UsageError
from layerscope.core.words import first_line
from layerscope.run.program.asked import VARIABLE, Asked

_HOOK = Path(__file__).parent / "hook"
# Sent to the program alone (`kill`), these reach layerscope instead, which passes them on.
_PASSED_ON = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code, negative for a signal as `subprocess` gives it."""

    code: int

    def leave(self) -> None:
        """End this process as the program ended: with its code, or by its signal."""
        if self.code >= 0:
            sys.exit(self.code)
        sys.stdout.flush()
        sys.stderr.flush()
        number = -self.code
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def command_of(program: Sequence[str]) -> list[str]:
    """What to start: a `.py` file that is no command goes through this Python.

    Raises:
        UsageError: nothing of that name can be started.
    """
    name, *rest = program
    found = shutil.which(name)
    if found is not None and not (name.endswith(".py") and not os.access(name, os.X_OK)):
        return [found, *rest]
    if name.endswith(".py") and Path(name).is_file():
        return [sys.executable, name, *rest]
    raise UsageError(
        f"{name}: no such program; give it as you start it: python serve.py, or serve.py."
    )


def name_of(program: Sequence[str]) -> str:
    """The program's own name and, behind an interpreter or a launcher, that of its file or module."""
    words = [Path(program[0]).name]
    for place, word in enumerate(program[1:], start=1):
        if word.endswith((".py", ".ipynb")):
            return " ".join([*words, Path(word).name])
        if word == "-m" and len(words) == 1 and place + 1 < len(program):
            words += ["-m", program[place + 1]]
    return " ".join(words)


def run_program(program: Sequence[str], asked: Asked) -> Ended:
    """Run it to its end; its input, output and signals are its own.

    Raises:
        UsageError: it cannot be started.
    """
    command = command_of(program)
    environment = dict(os.environ)
    before = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = str(_HOOK) + (os.pathsep + before if before else "")
    environment[VARIABLE] = asked.text()
    # Ctrl-C reaches the program by itself, and it decides what that means. Where a shell had it ignored
    # it stays so; a handler of ours is not inherited.
    ours = signal.getsignal(signal.SIGINT)
    if ours is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)
    try:
        started = subprocess.Popen(command, env=environment)
    except OSError as error:
        signal.signal(signal.SIGINT, ours)
        raise UsageError(f"{program[0]}: cannot be started ({first_line(error)}).") from None
    kept = {name: _pass_on(name, started) for name in _PASSED_ON if hasattr(signal, name)}
    try:
        return Ended(started.wait())
    finally:
        signal.signal(signal.SIGINT, ours)
        for name, handler in kept.items():
            signal.signal(getattr(signal, name), handler)


def _pass_on(name: str, program: subprocess.Popen[bytes]) -> Any:
    number = getattr(signal, name)
    return signal.signal(number, lambda *_: program.send_signal(number))
