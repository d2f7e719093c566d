"""A command in forked processes, each with one fault at one of its writes; prints a JSON line for each.

Run as a script, so that the heavy imports happen once, before the forks:

    python -m support.faulted_runs FAULT=BASE,... STRIDE ARGUMENTS...

The first run has no fault and lists its writes: every file opened for writing, every folder or file
made, renamed or removed below `--out`, which is a folder of its own below BASE for each run. Then comes
one run for every STRIDE-th write and each fault, other writes for other faults, in which the fault
strikes just before the write; of a sweep the same command follows once more without a fault:

    kill       SIGKILL
    interrupt  SIGINT
    full       no file may grow from here on: the kernel refuses every write, whoever writes
    readonly   BASE is read-only from here on (it must be a tmpfs of its own)
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from support.killed_sweep import preload

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_MADE = ("os.mkdir", "os.rename", "os.remove")
_MS_RDONLY, _MS_REMOUNT = 1, 32


def strike(fault: str, base: Path) -> None:
    """What goes wrong, for the rest of this process."""
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "interrupt":
        signal.raise_signal(signal.SIGINT)
    elif fault == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    elif fault == "readonly":
        remount(base, _MS_RDONLY)


def remount(mounted: Path, flags: int = 0) -> None:
    """Change a tmpfs' flags, by the system call: torch's threads would not survive another fork."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", str(mounted).encode(), b"tmpfs", _MS_REMOUNT | flags, None):
        raise OSError(ctypes.get_errno(), f"{mounted}: remount")


class Writes:
    """An audit hook that counts the writes below a folder and strikes before one of them."""

    def __init__(self, out: Path, report: int, fault: str, at: int) -> None:
        self._out, self._report, self._fault, self._at = out, report, fault, at
        self._count = 0
        self._striking = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" and event not in _MADE:
            return
        path = _written(event, arguments)
        if self._striking or path is None or not path.startswith(str(self._out)):
            return
        self._count += 1
        if self._at in (0, self._count):
            short = path.removeprefix(str(self._out)).lstrip("/")
            os.write(self._report, f"{event} {short}\n".encode())
        if self._count == self._at:
            self._striking = True
            strike(self._fault, self._out.parent)


def _written(event: str, arguments: tuple[Any, ...]) -> str | None:
    path, mode, flags = (*arguments, None, None)[:3]
    if not isinstance(path, (str, bytes, os.PathLike)):
        return None
    if event == "open":
        writes = any(c in mode for c in "wax+") if isinstance(mode, str) else flags & _WRITES
        return os.fsdecode(path) if writes else None
    return os.fsdecode(path)


def run(arguments: list[str], out: Path, fault: str, at: int) -> dict[str, Any]:
    """One run in a process of its own; `writes` are all its writes, or the one that was struck."""
    ends = [os.pipe(), os.pipe()]
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(ends[0][1], 2)
        sys.addaudithook(Writes(out, ends[1][1], fault, at))
        from layerscope.cli.main import run as command

        code = command([*arguments, "--out", str(out)])
        sys.stderr.flush()
        os._exit(code)
    texts = []
    for read, write in ends:
        os.close(write)
        with os.fdopen(read) as pipe:
            texts.append(pipe.read())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"code": code, "stderr": texts[0], "writes": texts[1].splitlines(), "out": str(out)}


def main(faults: dict[str, Path], stride: int, arguments: list[str]) -> None:
    """One run without a fault, then one for each fault and write that is struck."""
    preload()
    # A shell that started this in the background has Ctrl-C ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import matplotlib.pyplot  # noqa: F401

    first = next(iter(faults.values()))
    whole = run(arguments, first / "whole", "", 0)
    print(json.dumps(whole | {"fault": ""}), flush=True)
    for number, (fault, base) in enumerate(faults.items()):
        # The last write, where the folder gets its name, for every fault.
        last = len(whole["writes"])
        begin = 1 + number * stride // len(faults)
        for at in sorted({*range(begin, last + 1, stride), last}):
            out = base / f"{fault}-{at}"
            found = run(arguments, out, fault, at)
            if fault == "readonly":
                remount(base)
            found |= {"left": state(out), "fault": fault}
            if arguments[0] == "sweep":
                found["again"] = run(arguments, out, "", 0)
            print(json.dumps(found), flush=True)


def state(out: Path) -> list[str]:
    """Every file left, hidden ones too."""
    return sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())


if __name__ == "__main__":
    pairs = (pair.split("=") for pair in sys.argv[1].split(","))
    main({fault: Path(base) for fault, base in pairs}, int(sys.argv[2]), sys.argv[3:])
