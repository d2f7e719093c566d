"""The small world that the synthetic data sets speak of: its colours, shapes, places and words.

Kept small on purpose: a model of a few million parameters has to learn it.
"""

from __future__ import annotations

MASTER_PX = 448  # side of every synthetic image as drawn

COLOURS = {
    "red": (214, 32, 40),
    "green": (30, 150, 60),
    "blue": (36, 82, 210),
    "yellow": (245, 215, 40),
    "purple": (130, 45, 165),
    "orange": (245, 135, 25),
    "black": (20, 20, 20),
    "white": (252, 252, 252),
}
# None of these is close to a named colour, so a shape always stands out.
BACKGROUNDS = ((176, 176, 176), (186, 180, 168), (166, 180, 186), (182, 170, 178), (170, 184, 168))

SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross")

# relation -> its inverse
RELATIONS = {
    "above": "below",
    "below": "above",
    "left of": "right of",
    "right of": "left of",
}
PLACES = ("left", "right", "top", "bottom")

# Many pairs differ in one letter, so that a blurred sign cannot be guessed from its outline.
SIGN_WORDS = (
    *("stop", "shop", "ship", "chip", "exit", "edit", "cafe", "cake", "bank", "bark"),
    *("book", "cook", "fish", "dish", "milk", "mill", "hotel", "motel", "bus", "bug"),
    *("park", "dark", "sale", "safe", "gate", "game", "open", "oven", "north", "south"),
    *("east", "west", "tea", "sea", "farm", "form", "road", "read", "taxi", "lake"),
)

# Sentences that carry no deciding word: no colour, shape or place of this world among them.
FILLERS = (
    "water turns to ice when it is cold.",
    "the sun gives light and heat.",
    "plants need water to grow.",
    "a magnet can pull iron.",
    "birds use wings to fly.",
    "rain falls from the clouds.",
    "the moon moves around the earth.",
    "rocks can break into sand.",
    "some animals sleep in winter.",
    "sound can move in air.",
    "wood can burn.",
    "metal feels cold.",
    "seeds grow in soil.",
    "wind moves the leaves.",
    "frogs live near water.",
    "a lamp gives light.",
    "the class looks at a picture.",
    "the teacher reads a page.",
    "ice melts in the heat.",
    "a plant has roots and leaves.",
)
# Single words that bring a deciding word to its exact depth.
OPENERS = ("so", "now", "then", "here", "today", "again", "also", "next")


def article(noun: str) -> str:
    """The noun with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
