"""ScienceQA-like samples: dice go in, an image, a context with one deciding word, and options out.

The deciding word stands at a known depth of the prompt (8 to 200 tokens on the tiny model's
T5 side), so a shorter input cuts it off. The image carries the other half of what is needed, and
the two halves are enough: with the tail of the prompt gone, the answer's text is still decided.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from layerscope.workload.data.dice import Dice
from layerscope.workload.data.drawing import canvas, draw_shape
from layerscope.workload.data.prompts import LETTERS, lettered
from layerscope.workload.data.scene import Scene
from layerscope.workload.data.world import (
    BACKGROUNDS,
    COLOURS,
    FILLERS,
    OPENERS,
    PLACES,
    SHAPES,
)

DEPTH_BANDS = ((8, 24), (25, 48), (49, 96), (97, 144), (145, 200))
_CENTRES = {"left": (100, 224), "right": (348, 224), "top": (224, 90), "bottom": (224, 358)}


@dataclass(frozen=True)
class Lesson:
    """One lettered question. `depth` counts tokens up to and with the deciding word."""

    scene: Scene
    choices: tuple[str, ...]
    answer: int
    deciding_word: str
    depth: int

    @property
    def prompt(self) -> str:
        """What the model reads."""
        return self.scene.prompt

    @property
    def letter(self) -> str:
        """The right option's letter, lower case."""
        return LETTERS[self.answer]


@dataclass(frozen=True)
class _Thing:
    place: str
    colour: str
    shape: str


def make_lesson(dice: Dice) -> Lesson:
    """One image of four shapes and a question that only context and image together decide."""
    sheet = canvas(dice.pick(BACKGROUNDS))
    colours, shapes = dice.draw(tuple(COLOURS), 4), dice.draw(SHAPES, 4)
    things = [_Thing(*parts) for parts in zip(PLACES, colours, shapes, strict=True)]
    for thing in things:
        draw_shape(sheet, thing.shape, thing.colour, _CENTRES[thing.place], dice.between(46, 62))
    asked = dice.pick(things)
    others = [thing for thing in things if thing is not asked]
    fact, deciding, question, answers = _ask(dice, asked, others)
    depth = dice.between(*dice.pick(DEPTH_BANDS))
    context = _context(dice, fact, depth)
    order = dice.draw(range(3), 3)
    choices = tuple(answers[i] for i in order)
    prompt = lettered(question, choices, context)
    scene = Scene.of(sheet, prompt, (choices[order.index(0)],))
    return Lesson(scene, choices, order.index(0), deciding, depth)


def _ask(dice: Dice, asked: _Thing, others: list[_Thing]) -> tuple[str, str, str, list[str]]:
    """The deciding sentence, its word, the question, and three answers with the right one first."""
    wrong = dice.draw(others, 2)
    kind = dice.below(3)
    if kind == 0:
        fact, word = f"the marked colour is {asked.colour}.", asked.colour
        question = "what shape has the marked colour?"
        return fact, word, question, [thing.shape for thing in (asked, *wrong)]
    if kind == 1:
        fact, word = f"the marked shape is the {asked.shape}.", asked.shape
        question = "what colour has the marked shape?"
        return fact, word, question, [thing.colour for thing in (asked, *wrong)]
    fact, word = f"the marked place is the {asked.place}.", asked.place
    question = "what shape is at the marked place?"
    return fact, word, question, [thing.shape for thing in (asked, *wrong)]


def token_count(text: str) -> int:
    """Tokens of this world's text on the tiny model's T5 side, without the closing `</s>`."""
    return len(re.findall(r"\w+|[^\w\s]", text))


def _context(dice: Dice, fact: str, depth: int) -> str:
    """Fillers, then the fact with its last word as token `depth` of the prompt, then a filler."""
    # "Context" and ":" come first; the fact's full stop comes after the deciding word.
    room = depth - 2 - (token_count(fact) - 1)
    before: list[str] = []
    while fitting := [filler for filler in FILLERS if token_count(filler) <= room]:
        before.append(dice.pick(fitting))
        room -= token_count(before[-1])
    openers = dice.draw(OPENERS, room)
    after = dice.draw(FILLERS, dice.between(0, 2))
    return " ".join((*before, *openers, fact, *after))
