"""A cell in, its run folder and where it was measured out: the part that runs on a node.

Nothing here is imported with torch: the number of threads is settled first, and Ray has by then named
the GPUs that this process may see.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from layerscope import __version__
from layerscope.records.sweep import Cell, CellFailure
from layerscope.records.sweep_places import SweepNode
from layerscope.sweep.cluster.claim import Claim
from layerscope.sweep.cluster.transfer import Meeting, pack

if TYPE_CHECKING:
    from layerscope.sweep.models import KeptModel

_THREADS_VARIABLE = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class Terms:
    """What the driver tells every seat.

    Attributes:
        version: the driver's layerscope.
        threads: OMP_NUM_THREADS of the driver; None: torch chooses, as it does in a local run.
        folder: the driver's working directory, from which relative paths count where it exists.
        meeting: the driver's folder that a node with a shared disk sees.
        cuda: whether the cells for this seat run on a CUDA device.
    """

    version: str
    threads: str | None
    folder: str
    meeting: Meeting
    cuda: bool


@dataclass(frozen=True)
class Report:
    """A seat that is ready. `problem` says why it can take no cell."""

    process: int
    devices: tuple[str, ...]
    shared: bool
    node: SweepNode | None
    problem: str | None = None


@dataclass(frozen=True)
class Delivery:
    """What became of a cell: its run folder, by path or as bytes, or why it has none."""

    began_utc: str
    ended_utc: str
    loads: int
    folder: str | None = None
    archive: bytes | None = None
    failure: CellFailure | None = None
    traceback: str = ""


class Seat:
    """A Ray actor: one process that holds its GPU, or its node's CPUs, from first cell to last."""

    def __init__(self, claim: Claim, terms: Terms) -> None:
        self._claim, self._terms = claim, terms
        # Ray sets the variable to the number of CPUs that were asked for, which a local run does not.
        os.environ.pop(_THREADS_VARIABLE, None)
        if terms.threads is not None:
            os.environ[_THREADS_VARIABLE] = terms.threads
        if Path(terms.folder).is_dir():
            os.chdir(terms.folder)
        self._shared = False
        self._models: KeptModel | None = None

    def report(self, address: str) -> Report:
        """What this seat is and sees.

        Args:
            address: the node's, as the cluster knows it.
        """
        devices = self._devices()
        if __version__ != self._terms.version:
            problem = (
                f"layerscope {__version__} is installed there and {self._terms.version} here; "
                "install one version on every node"
            )
            return Report(os.getpid(), devices, shared=False, node=None, problem=problem)
        import platform

        import torch

        from layerscope.instrument.environment import read_environment

        self._shared = self._terms.meeting.seen_here()
        held = self._claim is Claim.GPU and self._terms.cuda
        unfit = _cuda_problem(torch.cuda.device_count()) if held else None
        environment = read_environment(cuda=held and unfit is None)
        node = SweepNode(host=platform.node(), address=address, environment=environment)
        return Report(os.getpid(), devices, shared=self._shared, node=node, problem=unfit)

    def run(self, cell: Cell, name: str, number: int) -> Delivery:
        """Measure one cell.

        Args:
            name: of its run folder.
            number: of the attempt, unlike every other in this sweep: a process that was given up for
                lost but still runs writes where nobody looks.
        """
        from rich.console import Console

        from layerscope.report.progress import ProgressReporter
        from layerscope.sweep.attempt import attempt
        from layerscope.sweep.models import KeptModel, free_memory
        from layerscope.write.folder import RunFolder

        self._models = self._models or KeptModel()
        before, began = self._models.loads, _now()
        quiet = ProgressReporter(Console(stderr=True), quiet=True)
        with self._made_in(number) as into:
            folder = RunFolder(into, name)
            missed = attempt(cell, folder, self._models, quiet, _to_log, _never_interrupted)
            ended, loads = _now(), self._models.loads - before
            if missed is not None:
                free_memory()
                return Delivery(
                    began, ended, loads, failure=missed.failure, traceback=missed.traceback
                )
            if self._shared:
                return Delivery(began, ended, loads, folder=str(into / name))
            return Delivery(began, ended, loads, archive=pack(into / name))

    @contextmanager
    def _made_in(self, number: int) -> Iterator[Path]:
        """Where the run folder is made: at the driver, or in a folder of this node's own."""
        if self._shared:
            into = Path(self._terms.meeting.folder) / str(number)
            into.mkdir()
            yield into
        else:
            with tempfile.TemporaryDirectory(prefix="layerscope-cell-") as own:
                yield Path(own)

    def _devices(self) -> tuple[str, ...]:
        import ray

        context = ray.get_runtime_context()
        if self._claim is Claim.GPU:
            return tuple(f"GPU {index}" for index in context.get_accelerator_ids()["GPU"])
        return (f"all {int(context.get_assigned_resources()['CPU'])} CPUs",)


def _cuda_problem(visible: int) -> str | None:
    """One GPU is held, so one must be seen: with more, every process would use the first of them."""
    if visible == 1:
        return None
    if visible == 0:
        return "torch sees no CUDA device there, though Ray counts one; see `layerscope doctor`"
    return (
        f"the process sees {visible} GPUs and holds one; unset "
        "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES where `ray start` ran"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _to_log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _never_interrupted() -> bool:
    return False
