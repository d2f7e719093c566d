"""What the device can do at best: kept ceilings, or measured ones."""

from __future__ import annotations

import torch

from layerscope.core.errors import EnvironmentProblem
from layerscope.measure.ceilings import Board, ceilings_for
from layerscope.passes.draft import Draft
from layerscope.passes.session import Session


def ceilings(session: Session, draft: Draft) -> None:
    """None, with a warning, where the device has no room left to measure in."""
    environment = session.environment
    with session.progress.task("ceilings of this device", 1) as advance:
        try:
            board = Board(environment.driver, environment.gpu_power_limit_w)
            draft.ceilings = ceilings_for(torch.device(session.config.device), board)
        except EnvironmentProblem as problem:
            draft.warnings.append(str(problem))
        finally:
            advance(1)
