"""How an answer is brought to the form in which words are compared: text in, text out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType

from layerscope.errors import UsageError

NONE = "none"
LOWER_PUNCT = "lower-punct"
VQA = "vqa"
DEFAULT = NONE

_VQA_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_VQA_NUMBERS = {
    word: str(value)
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
_VQA_ARTICLES = frozenset({"a", "an", "the"})
# Contractions that annotators and models write without their apostrophe. Left out on purpose:
# those that are words without it (its, ill, well, were, shell, hell, wed).
_CONTRACTIONS = """
    ain't aren't can't couldn't could've didn't doesn't don't hadn't hasn't haven't he'd he's
    how'd how'll how's i'm i've isn't it'd it'll ma'am mightn't might've mustn't must've needn't
    o'clock oughtn't shan't she's should've shouldn't somebody'd somebody's someone'd someone's
    something'd that's there'd there's they'd they'll they're they've 'twas wasn't we've weren't
    what'll what're what's what've when's where'd where's where've who'd who'll who's who've
    why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
"""
_RESTORED = {word.replace("'", ""): word for word in _CONTRACTIONS.split()}


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
    """The VQA evaluation's answer form: marks, full stops, number words, articles, apostrophes.

    After the description in Antol et al. 2015 and the behaviour of its public evaluation script:
    a mark next to a space (or any mark in a text with a digit group like 1,000) is dropped, another
    becomes a space; a full stop stays only before a digit.
    """
    text = text.replace("\n", " ").replace("\t", " ").strip()
    grouped = re.search(r"\d,\d", text) is not None
    out = text
    for mark in _VQA_MARKS:
        drop = grouped or f"{mark} " in text or f" {mark}" in text
        out = out.replace(mark, "" if drop else " ")
    out = re.sub(r"\.(?!\d)", "", out)
    words = (_VQA_NUMBERS.get(word, word) for word in out.lower().split())
    return " ".join(_RESTORED.get(word, word) for word in words if word not in _VQA_ARTICLES)


NORMALISATIONS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {NONE: _as_is, LOWER_PUNCT: _lower_punct, VQA: _vqa}
)
