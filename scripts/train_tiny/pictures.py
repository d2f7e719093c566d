"""Synthetic samples drawn beforehand: seeds in, files of packed images, token ids and labels out.

An image has few colours, so a page keeps one byte per pixel and the image's own palette; the
rarest blends at the edges of letters move to the nearest of 256. A pool of processes writes chunks,
packed with zlib; one that is there is not drawn again, so what was interrupted goes on where it was.
Neither torch nor transformers is imported here: a process of the pool starts in a moment.
"""

from __future__ import annotations

import os
import string
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layerscope.workload.data import SyntheticSource
from layerscope.workload.data.drawing import Drawn
from layerscope.workload.data.synthetic import PROMPTS
from layerscope.workload.data.world import COLOURS, MASTER_PX, SHAPES, SIGN_WORDS

if TYPE_CHECKING:
    from PIL.Image import Image

CHUNK = 500
SPLITS = tuple(PROMPTS)
TEXT_TOKENS = 200  # of a prompt on each tokenizer; the longest input that training sees
ANSWER_TOKENS = 16  # of the longest caption, its end token included
MOST_THINGS = 5
MOST_LETTERS = 5 * max(len(word) for word in SIGN_WORDS)
# Columns of a thing: its box in px, what it is, its colour, and what stands on it.
THING = ("left", "top", "right", "bottom", "kind", "colour", "word", "digit0", "digit1", "digit2")
SIGN = len(SHAPES)  # the kind after the shapes'
NUMBER = len(SIGN_WORDS)  # the word after the words'
NO_DIGIT = 10
LETTERS = string.ascii_lowercase + string.digits
ABSENT = -100  # cross_entropy's own mark for "do not judge"


@dataclass
class _Pages:
    """The chunk that a process is drawing."""

    packed: list[bytes] = field(default_factory=list)
    arrays: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, packed: bytes, arrays: Mapping[str, np.ndarray]) -> None:
        self.packed.append(packed)
        for name, array in arrays.items():
            self.arrays.setdefault(name, []).append(array)

    def save(self, path: Path) -> None:
        ends = np.cumsum([len(page) for page in self.packed])
        columns = {name: np.stack(parts) for name, parts in self.arrays.items()}
        blob = np.frombuffer(b"".join(self.packed), dtype=np.uint8)
        waiting = path.with_suffix(f".{os.getpid()}.tmp")
        with waiting.open("wb") as file:
            np.savez(file, blob=blob, ends=ends, **columns)
        waiting.replace(path)


@dataclass(frozen=True)
class _Job:
    path: Path
    processor: Path
    split: str
    seed: int
    first: int
    count: int


def draw(
    folder: Path, processor: Path, counts: Mapping[str, int], *, seed: int, workers: int
) -> dict[str, list[Path]]:
    """Write the chunks that hold samples 0…count of each split, those that are there left alone.

    Args:
        processor: folder of the two `tokenizer.json`.
        counts: samples by split.

    Returns:
        The chunks by split, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [
        _Job(
            folder / f"{split}-{seed}-{first:08d}-{min(CHUNK, count - first)}.npz",
            processor,
            split,
            seed,
            first,
            min(CHUNK, count - first),
        )
        for split, count in counts.items()
        for first in range(0, count, CHUNK)
    ]
    missing = [job for job in jobs if not job.path.is_file()]
    if workers > 1 and len(missing) > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for done in [pool.submit(_draw_chunk, job) for job in missing]:
                done.result()
    else:
        for job in missing:
            _draw_chunk(job)
    return {split: [job.path for job in jobs if job.split == split] for split in counts}


def unpack(packed: bytes) -> np.ndarray:
    """One page: uint8 (448, 448), an index into its palette."""
    return np.frombuffer(zlib.decompress(packed), dtype=np.uint8).reshape(MASTER_PX, MASTER_PX)


def _draw_chunk(job: _Job) -> None:
    text, qformer = _tokenizers(job.processor)
    source = SyntheticSource(job.split, seed=job.seed, split="train")
    index_of = np.zeros(1 << 24, dtype=np.uint8)
    pages = _Pages()
    for index in range(job.first, job.first + job.count):
        scene = source.scene(index)
        page, palette = page_of(scene.image, index_of)
        text_ids = text.encode(scene.prompt).ids
        qformer_ids = qformer.encode(scene.prompt).ids
        pages.add(
            zlib.compress(page.tobytes(), 1),
            {
                "palettes": palette,
                "text": _row(text_ids, TEXT_TOKENS, 0),
                "text_lengths": np.array(len(text_ids), dtype=np.int16),
                "qformer": _row(qformer_ids, TEXT_TOKENS, 0),
                "qformer_lengths": np.array(len(qformer_ids), dtype=np.int16),
                "answers": _row(text.encode(scene.references[0]).ids, ANSWER_TOKENS, ABSENT),
                "things": things_of(scene.things),
                "letters": letters_of(scene.things),
            },
        )
    pages.save(job.path)


def _tokenizers(folder: Path) -> tuple[Any, Any]:
    from tokenizers import Tokenizer

    found = []
    for name in ("tokenizer.json", "qformer_tokenizer/tokenizer.json"):
        tokenizer = Tokenizer.from_file(str(folder / name))
        tokenizer.enable_truncation(TEXT_TOKENS)
        found.append(tokenizer)
    return found[0], found[1]


def _row(ids: Sequence[int], length: int, padding: int) -> np.ndarray:
    row = np.full(length, padding, dtype=np.int16)
    row[: len(ids)] = ids  # raises where an answer is longer than a row
    return row


def page_of(image: Image, index_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The image as palette indices (448, 448) and its palette (256, 3).

    Args:
        index_of: scratch, uint8 (2 ** 24,).
    """
    found = sorted(image.getcolors(MASTER_PX * MASTER_PX), reverse=True)
    colours = np.array([colour for _, colour in found], dtype=np.int64)
    kept = colours[:256]
    nearest = np.arange(len(colours))
    if len(colours) > len(kept):
        apart = ((colours[256:, None] - kept[None]) ** 2).sum(axis=2)
        nearest[256:] = apart.argmin(axis=1)
    index_of[colours[:, 0] | colours[:, 1] << 8 | colours[:, 2] << 16] = nearest
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: len(kept)] = kept
    # PIL's RGBX rows are little-endian words of R | G << 8 | B << 16, with 255 on top.
    words = np.frombuffer(image.convert("RGBX").tobytes(), dtype="<u4") & 0xFFFFFF
    return index_of[words].reshape(MASTER_PX, MASTER_PX), palette


def things_of(things: Sequence[Drawn]) -> np.ndarray:
    """int16 (5, 10), columns as in `THING`; a missing thing has a box of -1."""
    rows = np.full((MOST_THINGS, len(THING)), -1, dtype=np.int16)
    rows[:, 4:] = ABSENT
    for row, thing in zip(rows, things, strict=False):
        row[:4] = thing.box
        row[4] = SIGN if thing.shape is None else SHAPES.index(thing.shape)
        row[5] = tuple(COLOURS).index(thing.colour)
        if thing.text is None:
            continue
        row[6] = NUMBER if thing.text.isdigit() else SIGN_WORDS.index(thing.text)
        row[7:] = NO_DIGIT
        if thing.text.isdigit():
            row[7 : 7 + len(thing.text)] = [int(digit) for digit in thing.text]
    return rows


def letters_of(things: Sequence[Drawn]) -> np.ndarray:
    """int16 (25, 5): box and index into `LETTERS` of every letter; a missing one is -1."""
    rows = np.full((MOST_LETTERS, 5), -1, dtype=np.int16)
    found = [
        (*box, LETTERS.index(letter))
        for thing in things
        for box, letter in zip(thing.letters, thing.text or "", strict=True)
    ]
    if found:
        rows[: len(found)] = found
    return rows
