"""The synthetic data sets: a name, a seed and a split go in, samples that never change come out.

A sample depends on (seed, split, data set, index) alone, so any sample can be drawn by itself, and
training data (`train`) shares no draw with what runs report on (`test`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from layerscope.workload.data.captions import make_caption
from layerscope.workload.data.dice import Dice
from layerscope.workload.data.lessons import make_lesson
from layerscope.workload.data.prompts import CAPTION, OPTIONS, SHORT_ANSWER
from layerscope.workload.data.sample import Sample
from layerscope.workload.data.scene import Scene
from layerscope.workload.data.signs import make_sign

Split = Literal["train", "test"]
AnswerForm = Literal["letter", "text"]

PROMPTS = {
    "synthetic-coco": CAPTION,
    "synthetic-scienceqa": OPTIONS,
    "synthetic-textvqa": SHORT_ANSWER,
}
# Part of each sample's seed: never renumber.
_DATASET_CODE = {"synthetic-coco": 1, "synthetic-scienceqa": 2, "synthetic-textvqa": 3}
_SPLIT_CODE = {"train": 1, "test": 2}


@dataclass(frozen=True)
class SyntheticSource:
    """Endless samples drawn by our own generator; `name` is a key of `PROMPTS`."""

    name: str
    seed: int
    split: Split = "test"
    answer_form: AnswerForm = "text"

    synthetic = True
    revision = None
    skipped: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Where the samples come from, in words."""
        return (
            f"drawn by layerscope's own generator, split {self.split}, seed {self.seed}, "
            "448 px masters"
        )

    @property
    def prompt(self) -> str:
        """The prompt's template."""
        return PROMPTS[self.name]

    def dice_at(self, index: int) -> Dice:
        """The choices that make sample `index`."""
        return Dice(self.seed, _SPLIT_CODE[self.split], _DATASET_CODE[self.name], index)

    def sample(self, index: int) -> Sample:
        """Sample `index`, whatever was drawn before it."""
        sample_id = f"{self.name.removeprefix('synthetic-')}-{self.split}-{index:06d}"
        if self.name == "synthetic-scienceqa":
            lesson = make_lesson(self.dice_at(index))
            text = lesson.choices[lesson.answer]
            return Sample(
                sample_id=sample_id,
                image=lesson.scene.image,
                prompt=lesson.prompt,
                references=(lesson.letter if self.answer_form == "letter" else text,),
                letter_reference=lesson.letter,
                text_reference=text,
            )
        scene = self.scene(index)
        return Sample(
            sample_id=sample_id,
            image=scene.image,
            prompt=scene.prompt,
            references=scene.references,
        )

    def scene(self, index: int) -> Scene:
        """Sample `index` with what its image shows, which only a training may look at."""
        dice = self.dice_at(index)
        if self.name == "synthetic-scienceqa":
            return make_lesson(dice).scene
        return make_caption(dice) if self.name == "synthetic-coco" else make_sign(dice)

    def samples(self, count: int) -> Iterator[Sample]:
        """The first `count` samples."""
        return (self.sample(index) for index in range(count))


@dataclass(frozen=True)
class RandomSource:
    """Samples without content: the batcher draws seeded pixels and token ids for them."""

    seed: int

    name = "synthetic-random"
    synthetic = True
    prompt = None
    revision = None
    skipped: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Where the samples come from, in words."""
        return (
            f"seeded standard-normal pixels and token ids of exact lengths, seed {self.seed}; "
            "no image, no text, no answer"
        )

    def samples(self, count: int) -> Iterator[Sample]:
        """`count` samples that hold nothing but their names."""
        for index in range(count):
            yield Sample(sample_id=f"random-{index:06d}", image=None, prompt="", references=())
