"""The three public data sets: a row with the hub's column names goes in, its texts come out.

One `Layout` for each says where it lives, which columns are read and how a row becomes a question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from layerscope.core.errors import DataError
from layerscope.workload.data.prompts import (
    CAPTION,
    LETTERS,
    OPTIONS,
    SHORT_ANSWER,
    lettered,
    short_answer,
)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Texts:
    """What a row says, without its image."""

    prompt: str
    references: tuple[str, ...]
    letter: str | None = None  # of the right option; then `references` holds its text


@dataclass(frozen=True)
class Layout:
    """One data set on the hub.

    Attributes:
        repo: hub id.
        revision: commit the rows are read at; None where the newest is resolved when a run starts.
        columns: columns that are read; all must exist.
        id_column: column that names a row; None where none does and its position has to.
        image_optional: rows without an image exist and are passed over, not counted as broken.
        read: the row's texts; raises DataError with the reason for a broken row.
    """

    name: str
    repo: str
    split: str
    revision: str | None
    prompt: str
    columns: tuple[str, ...]
    id_column: str | None
    read: Callable[[Row], Texts]
    image_optional: bool = False


def _string(row: Row, column: str) -> str:
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"the {column} is {'null' if value is None else 'empty or not text'}")
    return value.strip()


def _strings(row: Row, column: str) -> tuple[str, ...]:
    kept = tuple(
        text.strip() for text in row[column] or () if isinstance(text, str) and text.strip()
    )
    if not kept:
        raise DataError(f"the {column} list holds no text")
    return kept


def _annotations(row: Row, column: str) -> tuple[str, ...]:
    """Every annotator's answer in its place: one who wrote nothing is one of the ten all the same."""
    _strings(row, column)
    return tuple(text.strip() if isinstance(text, str) else "" for text in row[column])


def _textvqa(row: Row) -> Texts:
    return Texts(short_answer(_string(row, "question")), _annotations(row, "answers"))


def _coco(row: Row) -> Texts:
    return Texts(CAPTION, _strings(row, "answer"))


def _scienceqa(row: Row) -> Texts:
    question, choices = _string(row, "question"), _strings(row, "choices")
    if len(choices) != len(row["choices"]):
        raise DataError("a choice is null or empty")
    answer = row["answer"]
    if not isinstance(answer, int) or not 0 <= answer < min(len(choices), len(LETTERS)):
        raise DataError(f"answer {answer} names none of the {len(choices)} choices")
    context = (row["hint"] or "").strip()
    prompt = lettered(question, choices, context)
    return Texts(prompt, (choices[answer],), letter=LETTERS[answer])


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(
            name="coco",
            repo="lmms-lab/COCO-Caption",
            split="val",
            revision=None,
            prompt=CAPTION,
            columns=("question_id", "image", "answer"),
            id_column="question_id",
            read=_coco,
        ),
        Layout(
            name="scienceqa",
            repo="derek-thomas/ScienceQA",
            split="test",
            revision=None,
            prompt=OPTIONS,
            columns=("image", "question", "choices", "answer", "hint"),
            id_column=None,
            read=_scienceqa,
            image_optional=True,
        ),
        Layout(
            name="textvqa",
            repo="lmms-lab/textvqa",
            split="validation",
            revision="9c0699cd19768ac5ab97568f6b3cbac4c0062884",
            prompt=SHORT_ANSWER,
            columns=("question_id", "image", "question", "answers"),
            id_column="question_id",
            read=_textvqa,
        ),
    )
}
