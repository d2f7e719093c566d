"""A device's name in, its ceilings out: kept ones, or measured when absent or asked for."""

from __future__ import annotations

from pathlib import Path

import torch

from layerscope.core.errors import EnvironmentProblem
from layerscope.instrument.environment import read_environment
from layerscope.measure.ceilings import Board, ceilings_for
from layerscope.records import Ceilings


def device_ceilings(device: str | None, *, remeasure: bool, cache: Path | None = None) -> Ceilings:
    """Show or measure.

    Args:
        device: "cuda" or "cpu"; None: CUDA where there is one.
        remeasure: measure although ceilings are kept.
        cache: the file they are kept in; the user's own when left out.

    Raises:
        EnvironmentProblem: no such device here, or it has no room to measure in.
    """
    there = torch.cuda.is_available()
    chosen = device or ("cuda" if there else "cpu")
    if chosen == "cuda" and not there:
        raise EnvironmentProblem(
            "--device cuda: torch sees no CUDA device; `layerscope doctor` says why."
        )
    environment = read_environment(cuda=chosen == "cuda")
    return ceilings_for(
        torch.device(chosen),
        Board(environment.driver, environment.gpu_power_limit_w),
        cache=cache,
        remeasure=remeasure,
    )
