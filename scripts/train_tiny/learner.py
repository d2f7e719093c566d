"""The model in training: batches in, smaller losses out.

Two stages. `see`: the vision tower alone learns to say what every patch shows. `answer`: the whole
model learns the answers, and the patches go on being asked, at a lower weight. Answers alone are a
thin signal (one word for a thousand patches): without the first stage the model stays on the
answers' frequencies for thousands of steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from batches import Pictures, Questions
from labels import PatchHeads, patch_labels

Stage = Literal["see", "answer"]
# The tower has learnt to see already when the answers begin; too fast a pace would undo it.
_TOWER_PACE = 0.3


@dataclass(frozen=True)
class Plan:
    """How long training takes and how fast it learns.

    Attributes:
        see_steps, answer_steps: length of the two stages.
        batch_size: samples of a step of answering; a step of seeing looks at twice as many windows.
        peak_lr: reached after `warmup` steps of a stage, falls along a cosine to its end.
        patch_weight: of the patches' loss while answering.
    """

    see_steps: int
    answer_steps: int
    batch_size: int
    peak_lr: float = 1e-3
    warmup: int = 100
    clip: float = 1.0
    weight_decay: float = 0.02
    patch_weight: float = 0.3

    @property
    def steps(self) -> int:
        """Both stages together."""
        return self.see_steps + self.answer_steps

    def stage(self, step: int) -> Stage:
        """The stage that a step belongs to."""
        return "see" if step < self.see_steps else "answer"

    def pace(self, step: int) -> float:
        """The learning rate's share of its peak."""
        seeing = step < self.see_steps
        into = step if seeing else step - self.see_steps
        length = self.see_steps if seeing else self.answer_steps
        return min(1.0, (into + 1) / self.warmup) * 0.5 * (1 + math.cos(math.pi * into / length))


class Learner:
    """Model, patch heads and the optimiser of the current stage."""

    def __init__(self, model: nn.Module, plan: Plan, *, compiled: bool = False) -> None:
        parts: Any = model
        self.model = parts
        self.plan = plan
        self.device = next(model.parameters()).device
        self.heads = PatchHeads(parts.config.vision_config.hidden_size).to(self.device)
        self._patch_px = parts.config.vision_config.patch_size
        if compiled:
            parts.vision_model.encoder.compile(dynamic=False)
        self.begin("see")

    def begin(self, stage: Stage) -> None:
        """A new optimiser, of what the stage trains."""
        self.stage = stage
        tower = [*self.model.vision_model.parameters()]
        seen = {id(value) for value in tower}
        rest = [value for value in self.model.parameters() if id(value) not in seen]
        groups = [
            (tower, 1.0 if stage == "see" else _TOWER_PACE),
            ([*self.heads.parameters()], 1.0),
        ]
        if stage == "answer":
            groups.append((rest, 1.0))
        self._trained = [value for values, _ in groups for value in values]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": chosen, "weight_decay": decay, "pace": pace}
                for values, pace in groups
                for chosen, decay in (
                    ([value for value in values if value.ndim > 1], self.plan.weight_decay),
                    ([value for value in values if value.ndim <= 1], 0.0),
                )
            ],
            lr=self.plan.peak_lr,
            betas=(0.9, 0.98),
            fused=self.device.type == "cuda",
        )

    def see(self, step: int, shown: Pictures) -> dict[str, torch.Tensor]:
        """One step of seeing; what it cost, as tensors on the device (reading them waits)."""
        with torch.autocast(self.device.type, torch.bfloat16):
            hidden = self.model.vision_model(
                pixel_values=shown.pixels, interpolate_pos_encoding=True
            ).last_hidden_state
            loss, right = self._patches(hidden, shown)
        return {"loss": loss.detach(), **right, "norm": self._learn(step, loss)}

    def answer(self, step: int, asked: Questions) -> dict[str, torch.Tensor]:
        """One step of answering."""
        with torch.autocast(self.device.type, torch.bfloat16):
            out = self.model(**asked.inputs, interpolate_pos_encoding=True)
            patches, right = self._patches(out.vision_outputs.last_hidden_state, asked.pictures)
            answer = out.loss.float()
            loss = answer + self.plan.patch_weight * patches
        said = {"loss": loss.detach(), "answer": answer.detach(), **right}
        return {**said, "norm": self._learn(step, loss)}

    def _learn(self, step: int, loss: torch.Tensor) -> torch.Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.peak_lr * self.plan.pace(step) * group["pace"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._trained, self.plan.clip)
        self.optimizer.step()
        return norm

    def _patches(
        self, hidden: torch.Tensor, shown: Pictures
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        side = shown.pixels.shape[-1] // self._patch_px
        loss, right = self.heads(hidden[:, 1:], patch_labels(shown, side))
        return loss, {"patches": loss.detach(), **right}
