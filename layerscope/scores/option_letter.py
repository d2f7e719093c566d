"""The letter of the option that an answer to a multiple-choice question names: text in, letter out.

The forms are those that evaluations of ScienceQA read: the letter alone ("B", "(b)", "b."), the
letter before the option's text ("B. a magnet", "(b) a magnet"), and a sentence that names it ("The
answer is B."). A letter that is a word of the sentence ("a magnet") names nothing.
"""

from __future__ import annotations

import re

# Marks around a letter that change nothing: Markdown's emphasis, quotation marks.
_AROUND = str.maketrans(
    "", "", "*`\"'\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"
)
_ALONE = re.compile(r"[(\[]?([A-Za-z])[)\]]?[.:,;!]?")
_BEFORE_TEXT = re.compile(r"(?:[(\[]([A-Za-z])[)\]][.:]?|([A-Za-z])[.:)\]])\s")
# A bare small letter counts only where the sentence or clause ends with it: "the answer is a magnet".
_NAMED = re.compile(
    r"\b(?i:answer|option|choice)\b(?:\s+(?i:is|would be|must be))?\s*:?\s*(?:(?i:option|choice)\s+)?"
    r"(?:[(\[]([A-Za-z])[)\]]|([A-Z])(?![\w'-])|([a-z])(?=\s*(?:[.,;:!)]|$)))"
)
_IN_BRACKETS = re.compile(r"[(\[]([A-Za-z])[)\]]")


def option_letter(text: str) -> str | None:
    """The letter, lower case; None where the text names none, or more than one."""
    plain = text.translate(_AROUND).strip()
    if alone := bare_letter(plain.partition("\n")[0]):
        return alone
    bare = " ".join(plain.split())
    bracketed = _named(_IN_BRACKETS, bare)
    if leading := _BEFORE_TEXT.match(bare):
        letter = (leading[1] or leading[2]).lower()
        return letter if bracketed <= {letter} else None
    for named in (_named(_NAMED, bare), bracketed):
        if named:
            return named.pop() if len(named) == 1 else None
    return None


def bare_letter(text: str) -> str | None:
    """The letter of a text that is nothing else ("B", "(b)", "b."), lower case; None for any other."""
    alone = _ALONE.fullmatch(text.strip())
    return alone[1].lower() if alone else None


def _named(pattern: re.Pattern[str], text: str) -> set[str]:
    return {next(filter(None, found.groups())).lower() for found in pattern.finditer(text)}
