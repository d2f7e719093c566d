"""The two evaluators of short answers: an answer and its annotators' answers in, its accuracy out.

Both are written after their published behaviour, to the letter: a score under an evaluator's name
equals the evaluator's. Their word lists are data, `vqa_tables.json`, with source and licence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources

import msgspec

ANNOTATORS = 10
_AGREEING = 3

_COMMA_BETWEEN_DIGITS = re.compile(r"\d,\d")
# The evaluators' pattern asks in vain what stands before the full stop, so only what follows counts.
_FULL_STOP = re.compile(r"\.(?!\d)")
# They hand `re.UNICODE` over where the number of replacements belongs: no more than so many are made.
_MOST_FULL_STOPS = int(re.UNICODE)


class _Tables(msgspec.Struct, frozen=True):
    articles: tuple[str, ...]
    numbers: Mapping[str, str]
    punctuation: tuple[str, ...]
    contractions: Mapping[str, str]


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    raw = resources.files("layerscope.scores").joinpath("vqa_tables.json").read_bytes()
    return msgspec.json.decode(raw, type=_Tables)


def vqa_score(prediction: str, answers: Sequence[str]) -> float:
    """The VQA evaluation's accuracy of one answer (Antol et al. 2015, `vqaEval.py`).

    For each annotator min(1, matches among the others / 3), then the mean. Answers are processed
    only where the annotators do not all say the same; else they are compared as they are written.

    Raises:
        ValueError: there is no annotator.
    """
    said, given = _one_line(prediction), [_one_line(answer) for answer in answers]
    if len(set(given)) > 1:
        said, given = vqa_form(said), [vqa_form(answer) for answer in given]
    return _soft_accuracy(said, given)


def textvqa_score(prediction: str, answers: Sequence[str]) -> float:
    """TextVQA's accuracy of one answer: EvalAI's processor on every text, then the same mean.

    Raises:
        ValueError: there is no annotator.
    """
    return _soft_accuracy(_evalai_form(prediction), [_evalai_form(answer) for answer in answers])


def vqa_form(text: str) -> str:
    """An answer as the VQA evaluation processes it: marks, numbers, articles, contractions."""
    return _words_form(_without_marks(_one_line(text)))


def _evalai_form(text: str) -> str:
    bare = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return vqa_form(bare)


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def _soft_accuracy(said: str, given: Sequence[str]) -> float:
    if not given:
        raise ValueError("no annotator's answer to score against")
    matches = sum(answer == said for answer in given)
    left_out = (matches - (answer == said) for answer in given)
    return sum(min(1.0, count / _AGREEING) for count in left_out) / len(given)


def _without_marks(text: str) -> str:
    """Marks out: one beside a space, or any in a text like 1,000, is dropped, another becomes a space.

    What decides is the text as it came; marks are then replaced one after the other.
    """
    grouped = _COMMA_BETWEEN_DIGITS.search(text) is not None
    found = text
    for mark in _tables().punctuation:
        dropped = grouped or f"{mark} " in text or f" {mark}" in text
        found = found.replace(mark, "" if dropped else " ")
    return _FULL_STOP.sub("", found, count=_MOST_FULL_STOPS)


def _words_form(text: str) -> str:
    """Words lowered, number words as digits, articles out, contractions with their apostrophe."""
    tables = _tables()
    words = (tables.numbers.get(word, word) for word in text.lower().split())
    kept = (word for word in words if word not in tables.articles)
    return " ".join(tables.contractions.get(word, word) for word in kept)
