"""Names, lists and errors in, the words that a user reads of them out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

# How alike two names are, from 0 to 1, for one to be the other misspelt.
_ALIKE = 0.5
LONGEST = 200  # characters of somebody else's message inside one of ours


def listed(items: Sequence[str]) -> str:
    """Items in a sentence: "a", "a and b", "a, b and c"."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: 1 layer, 24 layers."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def slug(text: str) -> str:
    """A name as part of an id."""
    return "-".join(filter(None, "".join(c if c.isalnum() else " " for c in text).split())).lower()


def nearest(name: object, known: Iterable[str]) -> str:
    """The known name that is most like this one, however unlike; the first of equals.

    Raises:
        ValueError: no name is known.
    """
    names = list(known)
    if not names:
        raise ValueError("no name is known")
    return difflib.get_close_matches(str(name), names, n=1, cutoff=0.0)[0]


def did_you_mean(name: object, known: Iterable[str], otherwise: str = "", quote: str = "`") -> str:
    """ "did you mean `batch_size`?" where a known name is near, else what is to be said `otherwise`.

    Args:
        known: names, the first preferred where two are equally near.
        quote: stands before and after the name.
    """
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=_ALIKE)
    return f"did you mean {quote}{near[0]}{quote}?" if near else otherwise


def first_line(
    error: BaseException, *, silent: str | None = None, longest: int | None = LONGEST
) -> str:
    """The first line of what an error says that is not blank.

    Args:
        silent: said for an error that says nothing; None: its kind.
        longest: at most so many characters; None: the whole line.
    """
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if not said:
        return type(error).__name__ if silent is None else silent
    return said[:longest]


def kind_and_first_line(error: BaseException, *, longest: int | None = LONGEST) -> str:
    """ "ValueError: no such axis"; the kind alone of an error that says nothing.

    A colon at the end goes, since what it announces stood on the next line.
    """
    said = first_line(error, silent="", longest=longest)
    return f"{type(error).__name__}: {said}".rstrip(": ")


def one_line(error: BaseException, *, longest: int | None = None) -> str:
    """All that an error says, its lines and runs of blanks joined."""
    return " ".join(str(error).split())[:longest]
