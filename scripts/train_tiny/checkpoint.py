"""A learner's whole state in one file, replaced only when the new one is whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from learner import Learner

NAME = "checkpoint.pt"


def save(folder: Path, learner: Learner, step: int) -> None:
    """Write the state after `step` steps."""
    waiting = folder / f"{NAME}.tmp"
    torch.save(
        {
            "step": step,
            "plan": asdict(learner.plan),
            "stage": learner.stage,
            "model": learner.model.state_dict(),
            "heads": learner.heads.state_dict(),
            "optimizer": learner.optimizer.state_dict(),
        },
        waiting,
    )
    waiting.replace(folder / NAME)


def resume(folder: Path, learner: Learner) -> int:
    """Bring the learner to the state in the folder; the steps it has done, 0 where there is none.

    Raises:
        ValueError: the state belongs to another plan.
    """
    path = folder / NAME
    if not path.is_file():
        return 0
    state = torch.load(path, map_location=learner.device, weights_only=True)
    if state["plan"] != asdict(learner.plan):
        raise ValueError(
            f"{path}: belongs to another plan ({state['plan']}); "
            "give another --out, or the same options."
        )
    learner.model.load_state_dict(state["model"])
    learner.heads.load_state_dict(state["heads"])
    learner.begin(state["stage"])
    learner.optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
