"""What `layerscope run` asks of the processes it follows, as the one text that travels to them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "LAYERSCOPE_RUN"


@dataclass(frozen=True)
class Asked:
    """Which calls to trace, and where to put what is seen.

    Attributes:
        spool: a folder that every process writes into; removed by `layerscope run` at the end.
        step: the first call that is traced, counted from 1.
        steps: how many calls one window holds.
        every: trace again every so many calls; None traces once.
        keep: windows that are kept of each process, the newest.
        count: run a later call of the traced one's shapes under the counter of FLOPs and bytes.
        model: class name, or module.name, of the model; None takes the largest that is called.
    """

    spool: str
    step: int = 3
    steps: int = 1
    every: int | None = None
    keep: int = 4
    model: str | None = None
    count: bool = False

    def text(self) -> str:
        """For the environment of the program. The spool comes first, for who cannot read the rest."""
        return self.spool + os.pathsep + json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Asked:
        """The other way."""
        return cls(**json.loads(text.partition(os.pathsep)[2]))

    def folder(self, pid: int) -> Path:
        """Where the process of this number writes."""
        return Path(self.spool) / str(pid)
