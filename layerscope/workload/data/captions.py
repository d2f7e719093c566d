"""COCO-like samples: dice go in, an image of one to three shapes and five captions come out.

What a caption needs is large in the image, so image size changes little here.
"""

from __future__ import annotations

from layerscope.workload.data.dice import Dice
from layerscope.workload.data.drawing import canvas, draw_shape
from layerscope.workload.data.prompts import CAPTION
from layerscope.workload.data.scene import Scene
from layerscope.workload.data.world import BACKGROUNDS, COLOURS, RELATIONS, SHAPES, article


def make_caption(dice: Dice) -> Scene:
    """One image, the prompt, and five captions, the first in a form the image fully decides."""
    sheet = canvas(dice.pick(BACKGROUNDS))
    count = dice.between(1, 3)
    colours = dice.draw(tuple(COLOURS), count)
    shapes = dice.draw(SHAPES, count)
    things = [f"{colour} {shape}" for colour, shape in zip(colours, shapes, strict=True)]
    if count == 1:
        places = [((dice.between(120, 328), dice.between(120, 328)), dice.between(60, 110))]
        captions = _one(things[0])
    elif count == 2:
        relation = dice.pick(tuple(RELATIONS))
        places = _pair(dice, relation)
        captions = _two(things, relation)
    else:
        places = [((90 + 134 * i, dice.between(90, 358)), dice.between(40, 60)) for i in range(3)]
        captions = _three(things)
    for colour, shape, (centre, radius) in zip(colours, shapes, places, strict=True):
        draw_shape(sheet, shape, colour, centre, radius)
    return Scene.of(sheet, CAPTION, captions)


def _pair(dice: Dice, relation: str) -> list[tuple[tuple[int, int], int]]:
    """Places of subject and object. The subject is the bigger one: the image says who is who."""
    sway = dice.between(-40, 40)
    middle = dice.between(170, 278)
    first, second = dice.between(100, 130), dice.between(320, 350)
    near, far = (middle, first), (middle + sway, second)
    if relation in ("left of", "right of"):
        near, far = (first, middle), (second, middle + sway)
    if relation in ("below", "right of"):
        near, far = far, near
    return [(near, dice.between(72, 88)), (far, dice.between(34, 44))]


def _one(thing: str) -> tuple[str, ...]:
    a = article(thing)
    return (a, f"there is {a}", f"a picture of {a}", f"one {thing}", f"{a} on a plain ground")


def _two(things: list[str], relation: str) -> tuple[str, ...]:
    a, b = article(things[0]), article(things[1])
    return (
        f"{a} {relation} {b}",
        f"{a} is {relation} {b}",
        f"{b} {RELATIONS[relation]} {a}",
        f"there is {a} {relation} {b}",
        f"a picture of {a} and {b}",
    )


def _three(things: list[str]) -> tuple[str, ...]:
    a, b, c = (article(thing) for thing in things)
    return (
        f"{a}, {b} and {c}",
        f"{a} and {b} and {c}",
        f"there is {a}, {b} and {c}",
        f"a picture of {a}, {b} and {c}",
        f"{b} between {a} and {c}",
    )
