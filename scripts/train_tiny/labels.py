"""What each patch of an image shows: things, letters and a view in, a class per patch and head out."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from batches import Pictures
from layerscope.workload.data.world import COLOURS
from pictures import ABSENT, LETTERS, NO_DIGIT, NUMBER, SIGN, THING

BACKGROUND = SIGN + 1
# Head -> its classes. A patch outside every thing has the kind BACKGROUND and is judged by that alone.
CLASSES = {
    "kind": BACKGROUND + 1,
    "colour": len(COLOURS),
    "word": NUMBER + 1,
    "digit0": NO_DIGIT + 1,
    "digit1": NO_DIGIT + 1,
    "digit2": NO_DIGIT + 1,
    "letter": len(LETTERS),
}
# A shape does not fill its box: only this share of it, around the middle, surely shows it.
_CORE = 0.3
# A patch is asked for a letter up to this far above and below the line of text.
_LINE_SLACK_PX = 5


def patch_labels(shown: Pictures, side: int) -> dict[str, torch.Tensor]:
    """A class per patch for each head; ABSENT where nothing is to be judged.

    Args:
        side: patches along one side of the image.

    Returns:
        int64 (batch, side * side) by head. `letter` is the one at the patch's middle.
    """
    steps = (torch.arange(side, device=shown.pixels.device) + 0.5) * (shown.view.extent_px / side)
    centres = shown.view.corners[..., None] + steps  # (batch, x and y, side)
    things = shown.things
    boxes = things[..., :4].float()
    inside = _within(boxes, centres)
    sign = (things[..., THING.index("kind")] == SIGN)[..., None, None]
    core = torch.where(sign, inside, _within(_shrunk(boxes), centres)).flatten(2)
    labels = {}
    for name in CLASSES:
        if name != "letter":
            labels[name] = _where(core, things[..., THING.index(name)])
    outside = ~inside.flatten(2).any(dim=1)
    labels["kind"] = torch.where(outside, BACKGROUND, labels["kind"])
    lines = shown.letters[..., :4].float()
    slack = lines.new_tensor([0, -_LINE_SLACK_PX, 0, _LINE_SLACK_PX])
    missing = lines[..., :1] < 0
    on_letter = _within(torch.where(missing, -1.0, lines + slack), centres).flatten(2)
    labels["letter"] = _where(on_letter, shown.letters[..., 4])
    return labels


def _where(found: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The value of the one item that covers a patch: (batch, items, patches) to (batch, patches)."""
    any_found, which = found.max(dim=1)
    return torch.where(any_found, values.long().gather(1, which), ABSENT)


def _shrunk(boxes: torch.Tensor) -> torch.Tensor:
    low, high = boxes[..., :2], boxes[..., 2:]
    middle, half = (low + high) / 2, (high - low + 1) / 2 * _CORE
    there = boxes[..., :1] >= 0
    return torch.where(there, torch.cat([middle - half, middle + half - 1], dim=-1), -1.0)


def _within(boxes: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Whether a patch's centre lies in a box, ends included: (batch, boxes, rows, columns)."""
    left, top, right, bottom = boxes[..., None].unbind(dim=-2)  # each (batch, boxes, 1)
    x, y = centres[:, None, 0], centres[:, None, 1]  # each (batch, 1, side)
    across = (x >= left) & (x < right + 1) & (right >= 0)
    down = (y >= top) & (y < bottom + 1) & (bottom >= 0)
    return down[..., :, None] & across[..., None, :]


class PatchHeads(nn.Module):
    """Reads off each patch what it shows. Used in training alone and then thrown away."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, sum(CLASSES.values()))

    def forward(
        self, patches: torch.Tensor, labels: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Sum of the heads' mean cross entropies, and each head's accuracy.

        Args:
            patches: (batch, side * side, width), without the class token.
        """
        parts = self.project(patches).float().split(list(CLASSES.values()), dim=-1)
        loss = patches.new_zeros((), dtype=torch.float32)
        right = {}
        for name, logits in zip(CLASSES, parts, strict=True):
            target = labels[name]
            judged = target != ABSENT
            total = judged.sum().clamp(min=1)
            summed = functional.cross_entropy(
                logits.flatten(0, 1), target.flatten(), ignore_index=ABSENT, reduction="sum"
            )
            loss = loss + summed / total
            right[name] = ((logits.argmax(-1) == target) & judged).sum() / total
        return loss, right
