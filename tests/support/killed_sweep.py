"""A sweep that is killed again and again: the same command in forked processes, SIGKILL at random.

Run as a script: the heavy imports happen once, before the forks, so that the moments of the kills
fall into the sweep and not into importing torch.

    python -m support.killed_sweep CONFIG OUT KILLS SEED

Prints one JSON line per kill: the finished cells (name -> inode of its record) at that moment, how
many half-written folders were left, and whether the process was really killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

# Ask whether a child has ended, and leave it to be waited for.
_ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT


def preload() -> None:
    """Everything a run imports."""
    import torch
    import transformers.models.instructblip.modeling_instructblip
    import transformers.models.t5.modeling_t5  # noqa: F401

    import layerscope.sweep.execute
    import layerscope.sweep.show  # noqa: F401

    torch.set_num_threads(1)


def start(arguments: list[str]) -> int:
    """The command in a process of its own; returns its id."""
    child = os.fork()
    if child:
        return child
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    from layerscope.cli.main import run

    os._exit(run(arguments))


def state(out: Path) -> dict[str, object]:
    """What lies in the sweep's folder."""
    cells = list((out / "cells").iterdir()) if (out / "cells").is_dir() else []
    return {
        "finished": {
            p.name: (p / "run.json").stat().st_ino for p in cells if not p.name.startswith(".")
        },
        "partial": sum(p.name.startswith(".partial-") for p in cells),
    }


def finished(out: Path) -> int:
    """How many cells have their final name."""
    return len([p for p in (out / "cells").glob("*") if not p.name.startswith(".")])


def main(config: str, out: str, kills: int, seed: int) -> None:
    """Kill `kills` times, then let it finish."""
    preload()
    dice = random.Random(seed)
    arguments = ["sweep", config, "--out", out]
    for _ in range(kills):
        child = start(arguments)
        # Anywhere: while loading, or any time after one or two more cells are whole.
        wanted = finished(Path(out)) + dice.choice((0, 1, 1, 2))
        while finished(Path(out)) < wanted and not os.waitid(os.P_PID, child, _ENDED):
            time.sleep(0.002)
        time.sleep(dice.uniform(0.0, 0.4))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(json.dumps(state(Path(out)) | {"killed": os.WIFSIGNALED(status)}), flush=True)
    _, status = os.waitpid(start(arguments), 0)
    print(json.dumps(state(Path(out)) | {"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
