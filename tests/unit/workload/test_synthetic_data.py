"""The synthetic data sets: determinism, splits, content that can be checked against the image."""

from __future__ import annotations

import hashlib
import re

import pytest
from PIL import Image

from layerscope.workload.data import SyntheticSource
from layerscope.workload.data.dice import Dice
from layerscope.workload.data.drawing import draw_sign, font_of
from layerscope.workload.data.lessons import DEPTH_BANDS, Lesson, make_lesson, token_count
from layerscope.workload.data.signs import SMALL_CAPS_PX
from layerscope.workload.data.synthetic import PROMPTS
from layerscope.workload.data.world import (
    BACKGROUNDS,
    COLOURS,
    FILLERS,
    MASTER_PX,
    PLACES,
    RELATIONS,
    SHAPES,
    SIGN_WORDS,
)

NAMES = tuple(PROMPTS)


def _lessons(count: int) -> list[Lesson]:
    source = SyntheticSource("synthetic-scienceqa", seed=0)
    return [make_lesson(source.dice_at(i)) for i in range(count)]


def test_dice_give_the_same_choices_for_ever() -> None:
    # Frozen: another value here means that every synthetic data set has changed.
    dice = Dice(1, 2, 3)
    assert [dice.below(1000) for _ in range(6)] == [670, 111, 511, 356, 704, 479]


def test_dice_stay_in_bounds_and_draw_without_repeats() -> None:
    dice = Dice(7)
    assert {dice.between(3, 5) for _ in range(200)} == {3, 4, 5}
    assert sorted(dice.draw("abcdef", 6)) == list("abcdef")
    assert not dice.chance(0)
    assert dice.chance(100)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_depends_on_its_index_alone(name: str) -> None:
    source = SyntheticSource(name, seed=3)
    in_order = list(source.samples(5))
    for index in (4, 0, 2):
        alone = SyntheticSource(name, seed=3).sample(index)
        assert alone.image is not None
        assert in_order[index].image is not None
        assert alone.image.tobytes() == in_order[index].image.tobytes()
        assert (alone.prompt, alone.references) == (
            in_order[index].prompt,
            in_order[index].references,
        )
        assert alone.image.mode == "RGB"
        assert alone.image.size == (MASTER_PX, MASTER_PX)


@pytest.mark.parametrize("name", NAMES)
def test_splits_and_seeds_share_no_image(name: str) -> None:
    seen: dict[str, tuple[str, int]] = {}
    for split in ("train", "test"):
        for seed in (0, 1):
            source = SyntheticSource(name, seed=seed, split=split)  # type: ignore[arg-type]
            for sample in source.samples(25):
                assert sample.image is not None
                digest = hashlib.sha256(sample.image.tobytes()).hexdigest()
                assert seen.setdefault(digest, (split, seed)) == (split, seed)
    assert len(seen) > 90


def _colours_in(image: Image.Image) -> set[str]:
    present = {pixel for _, pixel in image.getcolors(MASTER_PX**2) or ()}
    return {name for name, rgb in COLOURS.items() if rgb in present}


def test_captions_say_what_the_image_shows() -> None:
    for sample in SyntheticSource("synthetic-coco", seed=0).samples(60):
        assert sample.image is not None
        assert len(sample.references) == 5
        assert len(set(sample.references)) == 5
        for caption in sample.references:
            said = {word for word in re.findall("[a-z]+", caption) if word in COLOURS}
            assert said == _colours_in(sample.image), caption


def _centre(image: Image.Image, colour: str) -> tuple[float, float]:
    at = [
        (i % MASTER_PX, i // MASTER_PX)
        for i, pixel in enumerate(image.get_flattened_data())
        if pixel == COLOURS[colour]
    ]
    return sum(x for x, _ in at) / len(at), sum(y for _, y in at) / len(at)


def test_relations_hold_in_the_pixels() -> None:
    found = set()
    for sample in SyntheticSource("synthetic-coco", seed=1).samples(24):
        match = re.fullmatch(
            r"an? (\w+) \w+ (above|below|left of|right of) an? (\w+) \w+", sample.references[0]
        )
        if match is None:
            continue
        first, relation, second = match.groups()
        assert sample.image is not None
        (ax, ay), (bx, by) = _centre(sample.image, first), _centre(sample.image, second)
        holds = {"above": ay < by, "below": ay > by, "left of": ax < bx, "right of": ax > bx}
        assert holds[relation], sample.references[0]
        found.add(relation)
    assert found == set(RELATIONS)


def test_signs_have_ten_answers_the_first_right_and_mostly_agreed() -> None:
    for sample in SyntheticSource("synthetic-textvqa", seed=0).samples(60):
        right = sample.references[0]
        assert len(sample.references) == 10
        assert sample.references.count(right) >= 8
        assert right in SIGN_WORDS or 10 <= int(right) <= 999
        colour = re.search(r"the (\w+) sign", sample.prompt)
        assert colour is not None
        assert sample.image is not None
        assert colour[1] in _colours_in(sample.image)
        if " number " in sample.prompt:
            assert right.isdigit()


def _drawn(text: str, cap_px: int, corner: tuple[int, int]) -> Image.Image:
    from layerscope.workload.data.drawing import canvas

    sheet = canvas(BACKGROUNDS[0])
    draw_sign(sheet, text, "blue", corner, cap_px)
    return sheet.image


def _letter_contrast(text: str, cap_px: int, size: int) -> float:
    """Mean brightness step between neighbouring pixels of a text line, in grey levels at `size`."""
    import numpy as np

    image = (
        _drawn(text, cap_px, (200, 200)).convert("L").resize((size, size), Image.Resampling.BICUBIC)
    )
    scale = size / MASTER_PX
    width = len(text) * cap_px * 0.6
    margin = 8 + cap_px // 2
    box = [(200 + margin), (200 + margin), (200 + margin + width), (200 + margin + cap_px)]
    line = np.asarray(image.crop([round(edge * scale) for edge in box]), dtype=float)  # type: ignore[arg-type]
    return float(np.abs(np.diff(line, axis=1)).mean())


@pytest.mark.parametrize("cap_px", range(SMALL_CAPS_PX[0], SMALL_CAPS_PX[1] + 1))
def test_small_text_has_the_stated_height_and_loses_its_strokes_at_224(cap_px: int) -> None:
    box = font_of(cap_px).getmask("H").getbbox()
    assert box is not None
    assert box[3] - box[1] == cap_px
    for text in ("386", "shop", "milk"):
        master, half = (_letter_contrast(text, cap_px, size) for size in (448, 224))
        assert half < 0.85 * master
    # Large text keeps its strokes: the loss above is the size's doing.
    assert _letter_contrast("shop", 28, 224) > 1.2 * _letter_contrast("shop", 28, 448)


def test_the_deciding_word_stands_at_its_depth_and_nowhere_earlier() -> None:
    lessons = _lessons(150)
    for lesson in lessons:
        tokens = re.findall(r"\w+|[^\w\s]", lesson.prompt)
        assert tokens[lesson.depth - 1] == lesson.deciding_word
        assert lesson.deciding_word not in tokens[: lesson.depth - 1]
        assert tokens[lesson.depth] == "."
    depths = [lesson.depth for lesson in lessons]
    assert min(depths) >= 8
    assert max(depths) <= 200
    for low, high in DEPTH_BANDS:
        assert any(low <= depth <= high for depth in depths)


def test_a_lesson_needs_its_image_and_its_answer_is_an_option() -> None:
    for index, lesson in enumerate(_lessons(60)):
        assert len(set(lesson.choices)) == 3
        assert lesson.choices[lesson.answer] != lesson.deciding_word
        sample = SyntheticSource("synthetic-scienceqa", seed=0).sample(index)
        assert sample.references == (lesson.choices[lesson.answer],)
        assert f"({sample.letter_reference}) {sample.references[0]}" in sample.prompt
        lettered = SyntheticSource("synthetic-scienceqa", seed=0, answer_form="letter")
        assert lettered.sample(index).references == (lesson.letter,)
        assert lettered.sample(index).text_reference == sample.references[0]


def test_fillers_hold_no_deciding_word() -> None:
    deciding = {*COLOURS, *SHAPES, *PLACES}
    for filler in FILLERS:
        assert deciding.isdisjoint(filler.rstrip(".").split())
        assert token_count(filler) >= 4  # fewer openers than words are then always enough


def test_the_three_sets_differ_in_length_as_the_real_ones_do() -> None:
    mean = {
        name: sum(token_count(s.prompt) for s in SyntheticSource(name, seed=0).samples(40)) / 40
        for name in NAMES
    }
    assert mean["synthetic-coco"] < mean["synthetic-textvqa"] < mean["synthetic-scienceqa"]
