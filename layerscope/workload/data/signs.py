"""TextVQA-like samples: dice go in, an image with signs, a question about one and ten answers out.

Half of the signs carry small text: 8 or 9 px from baseline to the top of a tall letter in the
448 px master, legible there and not at 224 px (PIL's font hints to 6, 8 and 9 px, never 7). The
others carry large text, legible at both.
"""

from __future__ import annotations

from layerscope.workload.data.dice import Dice
from layerscope.workload.data.drawing import Box, canvas, draw_shape, draw_sign, sign_size
from layerscope.workload.data.prompts import short_answer
from layerscope.workload.data.scene import Scene
from layerscope.workload.data.world import BACKGROUNDS, COLOURS, MASTER_PX, SHAPES, SIGN_WORDS

SMALL_CAPS_PX = (8, 9)
LARGE_CAPS_PX = (20, 32)
ANSWERS = 10


def make_sign(dice: Dice) -> Scene:
    """One image, the prompt, and ten answers: the first right, up to two that disagree."""
    sheet = canvas(dice.pick(BACKGROUNDS))
    count = dice.between(2, 4)
    colours = dice.draw(tuple(COLOURS), count + 1)
    taken: list[Box] = []
    target = ""
    for i, colour in enumerate(colours[:count]):
        text = _number(dice) if dice.chance(50) else dice.pick(SIGN_WORDS)
        cap_px = dice.between(*(SMALL_CAPS_PX if dice.chance(50) else LARGE_CAPS_PX))
        corner = _free_corner(dice, sign_size(text, cap_px), taken)
        if corner is None:  # only a later sign can lack room: the first meets an empty canvas
            break
        taken.append(draw_sign(sheet, text, colour, corner, cap_px))
        if i == 0:
            target = text
    corner = _free_corner(dice, (64, 64), taken)
    if corner is not None:
        centre = (corner[0] + 32, corner[1] + 32)
        draw_shape(sheet, dice.pick(SHAPES), colours[count], centre, 30)
    kind = "number" if target.isdigit() else "word"
    question = dice.pick(
        (
            f"what {kind} is on the {colours[0]} sign?",
            f"what does the {colours[0]} sign say?",
            f"which {kind} is on the {colours[0]} sign?",
        )
    )
    return Scene.of(sheet, short_answer(question), _answers(dice, target))


def _number(dice: Dice) -> str:
    return str(dice.between(10, 999))


def _free_corner(dice: Dice, size: tuple[int, int], taken: list[Box]) -> tuple[int, int] | None:
    """An upper left corner where `size` fits with 8 px of air, or None after 60 tries."""
    width, height = size
    for _ in range(60):
        x = dice.between(8, MASTER_PX - width - 8)
        y = dice.between(8, MASTER_PX - height - 8)
        if all(
            x + width + 8 <= left or right + 8 < x or y + height + 8 <= top or bottom + 8 < y
            for left, top, right, bottom in taken
        ):
            return x, y
    return None


def _answers(dice: Dice, right: str) -> tuple[str, ...]:
    answers = [right] * ANSWERS
    for at in dice.draw(range(1, ANSWERS), dice.between(0, 2)):
        cut = dice.below(len(right))
        slip = right[:cut] + right[cut + 1 :]
        answers[at] = dice.pick((slip, f"the {right}", "unanswerable"))
    return tuple(answers)
