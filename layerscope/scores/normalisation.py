"""How an answer is brought to the form in which words are compared: text in, text out."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType

from layerscope.core.errors import UsageError
from layerscope.scores.vqa_answers import vqa_form

NONE = "none"
LOWER_PUNCT = "lower-punct"
VQA = "vqa"
DEFAULT = NONE


def normalise(text: str, name: str) -> str:
    """`text` in the named form, words separated by single spaces.

    Raises:
        UsageError: no normalisation has that name.
    """
    try:
        form = NORMALISATIONS[name]
    except KeyError:
        known = ", ".join(NORMALISATIONS)
        raise UsageError(f"normalisation {name!r} is not known; use one of: {known}.") from None
    return " ".join(form(text).split())


def _as_is(text: str) -> str:
    return text


def _lower_punct(text: str) -> str:
    """Lower case, Unicode punctuation removed; an apostrophe joins, other marks separate words."""
    kept = []
    for char in text.lower():
        if char in "'\N{RIGHT SINGLE QUOTATION MARK}":
            continue
        kept.append(" " if unicodedata.category(char).startswith("P") else char)
    return "".join(kept)


def _vqa(text: str) -> str:
    """The VQA evaluation's form, but for an answer of articles alone, of which it leaves nothing.

    "a" is an answer: a letter on a sign, an option. A word rate that lost it would score silence.
    """
    return vqa_form(text) or _lower_punct(text)


NORMALISATIONS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {NONE: _as_is, LOWER_PUNCT: _lower_punct, VQA: _vqa}
)
