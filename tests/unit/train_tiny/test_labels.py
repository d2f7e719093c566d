"""What the training says of each patch, against a hand-drawn image and against the pixels themselves."""

from __future__ import annotations

import numpy as np
import torch

from batches import Pictures, View
from labels import BACKGROUND, CLASSES, PatchHeads, patch_labels
from layerscope.workload.data import SyntheticSource
from layerscope.workload.data.drawing import Drawn
from layerscope.workload.data.synthetic import PROMPTS
from layerscope.workload.data.world import COLOURS, MASTER_PX, SHAPES, SIGN_WORDS
from pictures import ABSENT, LETTERS, NO_DIGIT, NUMBER, SIGN, letters_of, page_of, things_of


def _labels(
    things: tuple[Drawn, ...], side: int, corner: tuple[int, int] = (0, 0), extent: int = MASTER_PX
) -> dict[str, torch.Tensor]:
    shown = Pictures(
        pixels=torch.zeros(1, 3, side * 14, side * 14),
        view=View(torch.tensor([corner]), extent),
        things=torch.from_numpy(things_of(things))[None],
        letters=torch.from_numpy(letters_of(things))[None],
    )
    return {name: value[0].reshape(side, side) for name, value in patch_labels(shown, side).items()}


def test_patches_by_hand() -> None:
    # Four patches a side are 112 px wide, with centres at 56, 168, 280 and 392.
    two = ((80, 50, 99, 60), (100, 50, 119, 60))
    sign = Drawn((0, 0, 223, 111), "red", text="47", letters=two)  # the first row's first two
    # The middle 30 % of this shape's box is 246…313, 280 alone; its box holds 168 and 392 too.
    square = Drawn((168, 168, 392, 392), "blue", shape="square")
    labels = _labels((sign, square), 4)
    kind = SHAPES.index("square")
    assert labels["kind"].tolist() == [
        [SIGN, SIGN, BACKGROUND, BACKGROUND],
        [BACKGROUND, ABSENT, ABSENT, ABSENT],
        [BACKGROUND, ABSENT, kind, ABSENT],
        [BACKGROUND, ABSENT, ABSENT, ABSENT],
    ]
    red, blue = tuple(COLOURS).index("red"), tuple(COLOURS).index("blue")
    assert labels["colour"][0].tolist() == [red, red, ABSENT, ABSENT]
    assert labels["colour"][2].tolist() == [ABSENT, ABSENT, blue, ABSENT]
    assert labels["word"][0, 0] == NUMBER
    assert labels["word"][2, 2] == ABSENT  # nothing stands on a shape
    digits = [int(labels[f"digit{i}"][0, 0]) for i in range(3)]
    assert digits == [4, 7, NO_DIGIT]


def test_a_word_has_no_digits() -> None:
    letters = tuple((x, 220, x + 9, 228) for x in (200, 210, 220, 230))
    labels = _labels((Drawn((0, 0, 447, 447), "red", text="shop", letters=letters),), 2)
    assert labels["word"].unique().tolist() == [SIGN_WORDS.index("shop")]
    assert labels["digit0"].unique().tolist() == [NO_DIGIT]


def test_a_window_sees_its_part_of_the_master() -> None:
    # 224 px from (112, 112) on, four patches a side: centres at 140, 196, 252 and 308.
    square = Drawn((200, 200, 303, 303), "blue", shape="square")  # its core is 236…266
    kind = _labels((square,), 4, (112, 112), 224)["kind"]
    assert kind[2, 2] == SHAPES.index("square")
    assert kind[2, 3] == kind[0, 0] == BACKGROUND
    assert kind[1, 2] == BACKGROUND  # 196 lies above the box


def test_a_patch_is_asked_for_the_letter_at_its_middle() -> None:
    # Letters 100 px wide from 0, 100 and 200 on; rows 160…175, asked for from 155 to 180.
    letters = tuple((x, 160, x + 99, 175) for x in (0, 100, 200))
    sign = Drawn((0, 100, 447, 240), "red", text="bus", letters=letters)
    found = _labels((sign,), 4)["letter"]
    said = [LETTERS.index(letter) for letter in "bus"]
    # Centres across: 56 in the first letter, 168 in the second, 280 in the third, 392 in none.
    assert found[1].tolist() == [*said, ABSENT]
    assert (found[0] == ABSENT).all()
    assert (found[2:] == ABSENT).all()


def test_labels_agree_with_the_pixels() -> None:
    """A patch said to be a shape's core is painted in that shape's colour, in every split."""
    names = list(COLOURS.values())
    for split in PROMPTS:
        for index in range(12):
            scene = SyntheticSource(split, seed=5, split="train").scene(index)
            pixels = np.asarray(scene.image)
            labels = _labels(scene.things, 32)
            shapes = (labels["kind"] >= 0) & (labels["kind"] < SIGN)
            assert shapes.any() or split == "synthetic-textvqa"
            for row, column in shapes.nonzero().tolist():
                colour = names[int(labels["colour"][row, column])]
                y, x = int((row + 0.5) * MASTER_PX / 32), int((column + 0.5) * MASTER_PX / 32)
                assert tuple(pixels[y, x]) == colour
            background = pixels[0, 0]
            for row, column in (labels["kind"] == BACKGROUND).nonzero().tolist():
                y, x = int((row + 0.5) * MASTER_PX / 32), int((column + 0.5) * MASTER_PX / 32)
                assert (pixels[y, x] == background).all()


def test_a_page_holds_the_image_but_for_rare_blends() -> None:
    scratch = np.zeros(1 << 24, dtype=np.uint8)
    for split in PROMPTS:
        for index in range(6):
            image = SyntheticSource(split, seed=5, split="train").scene(index).image
            page, palette = page_of(image, scratch)
            off = (palette[page] != np.asarray(image)).any(axis=2)
            assert off.mean() < 0.005
            if split != "synthetic-textvqa":  # no letters, so nothing to blend
                assert not off.any()


def test_heads_that_know_the_labels_lose_nothing() -> None:
    scene = SyntheticSource("synthetic-textvqa", seed=5, split="train").scene(0)
    labels = {name: value.flatten()[None] for name, value in _labels(scene.things, 32).items()}
    # One input per class, wired straight to its output: the right answer has weight 50.
    heads = PatchHeads(sum(CLASSES.values()))
    with torch.no_grad():
        heads.project.weight.copy_(torch.eye(sum(CLASSES.values())) * 50)
        heads.project.bias.zero_()
    parts = [
        torch.nn.functional.one_hot(target.clamp(min=0), CLASSES[name])
        for name, target in labels.items()
    ]
    loss, right = heads(torch.cat(parts, dim=-1).float(), labels)
    assert loss.item() < 1e-6
    assert {float(share) for share in right.values()} == {1.0}
