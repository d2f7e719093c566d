"""A Ray cluster in, an executor of sweeps on it out."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from types import TracebackType

from layerscope.core.errors import EnvironmentProblem
from layerscope.core.progress import Progress
from layerscope.records import RunConfig
from layerscope.records.sweep import Cell
from layerscope.runs.sweep_folder import SweepFolder
from layerscope.sweep.cluster.claim import Claim, claim_of, places
from layerscope.sweep.cluster.connect import check_address, connected, import_ray
from layerscope.sweep.cluster.go import Go
from layerscope.sweep.cluster.seats import alive_nodes
from layerscope.sweep.executor import Execution


class RayExecutor:
    """Context manager and `Executor`: cells run on every device of a Ray cluster at once.

    The cluster is reached when it is first needed, so a finished sweep shows its tables without one.

    Args:
        address: HOST:PORT, "auto", "local", or None as `connected` reads it.
        claims: what a run must hold alone.

    Raises:
        UsageError: the address is none.
        EnvironmentProblem: ray is not installed.
    """

    def __init__(
        self, address: str | None = None, claims: Callable[[RunConfig], Claim] = claim_of
    ) -> None:
        check_address(address)
        self._ray = import_ray()
        self._address, self._claims = address, claims
        self._stack = contextlib.ExitStack()
        self._connected = False

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def has_cuda(self) -> bool:
        """Whether a node of the cluster has a GPU: what a sweep that names no device runs on.

        Raises:
            EnvironmentProblem: the cluster cannot be reached.
        """
        self._connect()
        return any(places(Claim.GPU, node.resources) for node in alive_nodes(self._ray))

    def __call__(
        self,
        cells: Sequence[Cell],
        folder: SweepFolder,
        progress: Progress,
        announce: Callable[[str], None],
        *,
        interrupted: Callable[[], bool],
    ) -> Execution:
        """Run the cells; `progress` is not used, because passes run elsewhere and at once."""
        self._connect()
        staging = folder.staging()
        go = Go(self._ray, cells, folder, staging, announce, self._claims)
        try:
            return go.run()
        except Exception:
            if interrupted():
                raise KeyboardInterrupt from None
            raise
        finally:
            go.close()
            shutil.rmtree(staging, ignore_errors=True)

    def _connect(self) -> None:
        if not self._connected:
            if self._ray.is_initialized():
                raise EnvironmentProblem(
                    "--executor ray: this process is connected to Ray already."
                )
            self._stack.enter_context(connected(self._ray, self._address))
            self._connected = True
