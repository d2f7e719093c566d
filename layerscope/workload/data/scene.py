"""What a generator of synthetic samples gives: the image, its texts, and what the image shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerscope.workload.data.drawing import Canvas, Drawn

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Scene:
    """One drawn sample.

    Attributes:
        image: RGB, 448 px square.
        prompt: what the model reads.
        references: accepted answers, the right one first.
        things: what was drawn, in order; training is told it, `generate()` never sees it.
    """

    image: Image
    prompt: str
    references: tuple[str, ...]
    things: tuple[Drawn, ...]

    @classmethod
    def of(cls, canvas: Canvas, prompt: str, references: tuple[str, ...]) -> Scene:
        """The scene on a finished canvas."""
        return cls(canvas.image, prompt, references, tuple(canvas.things))
