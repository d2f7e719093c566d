"""Layer ranges and a choice of layer, phase or step in, the calls that fit it out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layerscope.account.phases import LayerRange, Ranges
from layerscope.core.errors import UsageError
from layerscope.trace.tree import NONE

Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """What to look at; None leaves a part open.

    Attributes:
        layer: an FQN. One that is never called itself stands for the calls of the layers below it.
        call: counts from 0 through the calls that fit the rest.
    """

    layer: str | None = None
    phase: str | None = None
    step: int | None = None
    call: int | None = None

    def when(self, item: LayerRange) -> bool:
        """Whether a range is of the phase and the step chosen."""
        return self.phase in (None, item.phase) and self.step in (None, item.step)

    def holds(self, key: tuple[str, str], root: str) -> bool:
        """Whether time of this (layer, phase) belongs to the choice."""
        layer, phase = key
        named = self.layer in (None, root, layer) or layer.startswith(f"{self.layer}.")
        return named and self.phase in (None, phase)

    def __str__(self) -> str:
        step = None if self.step is None else f"step {self.step}"
        parts = (self.layer, self.phase and f"phase {self.phase}", step)
        return ", ".join(part for part in parts if part) or "the whole trace"


def calls_of(ranges: Ranges, choice: Choice, holding: Marks) -> list[int]:
    """The outermost ranges that fit, as indices into `ranges.items`.

    Args:
        holding: ranges without the layer's name in which it ran all the same, in compiled code.

    Raises:
        UsageError: none does, or there is no call of that number.
    """
    # The root has a row in every phase: with a phase chosen, the ranges of that phase are it.
    layer = None if choice.layer == ranges.root else choice.layer
    below = f"{layer}."
    found, inside = [], [False] * len(ranges.items)
    for index, item in enumerate(ranges.items):
        named = layer is None or item.layer == layer or item.layer.startswith(below)
        fits = (named or bool(holding[index])) and choice.when(item)
        above = item.above != NONE and inside[item.above]
        if fits and not above:
            found.append(index)
        inside[index] = fits or above
    if not found:
        raise UsageError(f"{choice}: no call of it in this trace.")
    if choice.call is not None and not 0 <= choice.call < len(found):
        raise UsageError(f"{choice}: call {choice.call} of {len(found)}, counted from 0.")
    return found


def inside_of(ranges: Ranges, calls: Iterable[int], choice: Choice) -> Marks:
    """The ranges in these calls that are of the phase and step chosen."""
    below, marks = np.zeros(len(ranges.items), np.bool_), np.zeros(len(ranges.items), np.bool_)
    below[list(calls)] = True
    for index, item in enumerate(ranges.items):
        if item.above != NONE and below[item.above]:
            below[index] = True
        marks[index] = below[index] and choice.when(item)
    return marks
