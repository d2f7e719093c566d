"""Drawing with PIL: shapes and signs by name and place go in, pixels on a 448 px canvas come out.

The canvas remembers what was drawn where, so that a training can be told what an image shows.

No smoothing and no font but the one inside PIL: letters are set one by one at whole pixels, so a
text layout library (raqm), present on one machine and absent on the next, changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from layerscope.workload.data.world import COLOURS, MASTER_PX

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Rgb = tuple[int, int, int]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Drawn:
    """One thing in an image: a shape, or a sign with its text.

    Attributes:
        box: left, top, right, bottom in px of the master, both ends included.
        shape: None for a sign.
        text: None for a shape.
        letters: the box of each of the text's letters, as wide as the letter's step.
    """

    box: Box
    colour: str
    shape: str | None = None
    text: str | None = None
    letters: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Canvas:
    """An RGB master image, the pen that draws on it, and what was drawn, in order."""

    image: Image
    pen: ImageDraw
    things: list[Drawn] = field(default_factory=list)


def canvas(background: Rgb) -> Canvas:
    """An empty canvas."""
    import PIL.Image
    import PIL.ImageDraw

    image = PIL.Image.new("RGB", (MASTER_PX, MASTER_PX), background)
    return Canvas(image, PIL.ImageDraw.Draw(image))


def draw_shape(
    canvas: Canvas, shape: str, colour: str, centre: tuple[int, int], radius: int
) -> None:
    """Draw a named shape of a named colour inside the circle of `radius` px around `centre`."""
    x, y = centre
    pen, fill = canvas.pen, COLOURS[colour]
    box = (x - radius, y - radius, x + radius, y + radius)
    canvas.things.append(Drawn(box, colour, shape=shape))
    if shape == "circle":
        pen.ellipse(box, fill=fill)
    elif shape == "square":
        side = round(radius * 0.8)
        pen.rectangle((x - side, y - side, x + side, y + side), fill=fill)
    elif shape == "cross":
        arm = round(radius * 0.32)
        pen.rectangle((x - radius, y - arm, x + radius, y + arm), fill=fill)
        pen.rectangle((x - arm, y - radius, x + arm, y + radius), fill=fill)
    else:
        pen.polygon([_at(centre, radius * r, turn) for r, turn in _CORNERS[shape]], fill=fill)


# Corners of the polygons as (share of the radius, turn from straight up in degrees).
_CORNERS: dict[str, tuple[tuple[float, float], ...]] = {
    "triangle": ((1.0, 0), (1.0, 120), (1.0, 240)),
    "diamond": ((1.0, 0), (0.7, 90), (1.0, 180), (0.7, 270)),
    "star": tuple((1.0 if i % 2 == 0 else 0.42, 36.0 * i) for i in range(10)),
}


def _at(centre: tuple[int, int], radius: float, turn: float) -> tuple[int, int]:
    angle = math.radians(turn)
    return (
        math.floor(centre[0] + radius * math.sin(angle) + 0.5),
        math.floor(centre[1] - radius * math.cos(angle) + 0.5),
    )


@cache
def font_of(cap_px: int) -> FreeTypeFont:
    """PIL's own font at the smallest size whose capital H inks at least `cap_px` rows.

    Raises:
        EnvironmentProblem: this PIL was built without FreeType, so it has no scalable font.
    """
    from PIL import ImageFont

    from layerscope.core.errors import EnvironmentProblem

    for size in range(4, 4 * cap_px):
        font = ImageFont.load_default(size)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise EnvironmentProblem(
                "Pillow has no FreeType, so synthetic signs cannot be drawn: "
                "install a Pillow wheel (pip install --force-reinstall pillow)."
            )
        if _ink_rows(font) >= cap_px:
            return font
    raise AssertionError(f"no font size reaches {cap_px} px")


def _ink_rows(font: FreeTypeFont) -> int:
    left, top, right, bottom = font.getmask("H").getbbox() or (0, 0, 0, 0)
    return bottom - top if right > left else 0


def _advances(text: str, cap_px: int) -> list[int]:
    font = font_of(cap_px)
    return [math.floor(font.getlength(letter) + 0.5) for letter in text]


def sign_size(text: str, cap_px: int) -> tuple[int, int]:
    """Width and height in px of the sign that `text` needs, its margin included."""
    margin = sign_margin(cap_px)
    return sum(_advances(text, cap_px)) + 2 * margin, cap_px + 2 * margin


def sign_margin(cap_px: int) -> int:
    """Empty px around a sign's text."""
    return 8 + cap_px // 2


def draw_sign(canvas: Canvas, text: str, colour: str, corner: tuple[int, int], cap_px: int) -> Box:
    """Draw a filled sign with its text, upper left at `corner`; return the box it covers."""
    width, height = sign_size(text, cap_px)
    x, y = corner
    box = (x, y, x + width - 1, y + height - 1)
    pen, fill = canvas.pen, COLOURS[colour]
    pen.rectangle(box, fill=fill)
    # Rec. 601 luma decides between black and white letters.
    luma = (299 * fill[0] + 587 * fill[1] + 114 * fill[2]) // 1000
    ink = (0, 0, 0) if luma > 110 else (255, 255, 255)
    margin = sign_margin(cap_px)
    left, baseline = x + margin, y + margin + cap_px
    font = font_of(cap_px)
    letters = []
    for letter, advance in zip(text, _advances(text, cap_px), strict=True):
        pen.text((left, baseline), letter, fill=ink, font=font, anchor="ls")
        letters.append((left, baseline - cap_px, left + advance - 1, baseline - 1))
        left += advance
    canvas.things.append(Drawn(box, colour, text=text, letters=tuple(letters)))
    return box
