"""A page of results and what it must say: claims in, those that it does not say and bare figures out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

# A number as prose writes it: "1,268", "-25.7", "0.12".
_NUMBER = r"(?<![\w.,:/#^-])[−+±-]?\d+(?:,\d{3})*(?:\.\d+)?(?![\w]|\.\d|-\w)"
_UNIT = (
    r"(?:\s?(?:%|ms|s|µs|us|ns|J|W|GB/s|TB/s|TFLOP/s|TFLOP|FLOP|MB|kB|GB|GiB|TB|T|×|times|launches|"
    r"kernels|windows|checks|samples|layers|modules|units|rounds|inputs)\b|\s?[%×])"
)
_FIGURE = re.compile(_NUMBER)
_MEASURED = re.compile(f"{_NUMBER}{_UNIT}")
# Code, addresses and pictures hold no claims.
_SILENT = re.compile(r"```.*?```|`[^`]*`|\]\([^)]*\)", re.DOTALL)
_VERSION = re.compile(r"\b\d+\.\d+\.\d+[\w.+]*|\b\d+\.\d+\+\w+")


@dataclass
class Page:
    """One page and what was claimed of it."""

    path: str
    claims: list[str] = field(default_factory=list)
    givens: list[str] = field(default_factory=list)

    def says(self, form: str, *values: Any) -> None:
        """This text, with these values in it, stands on the page."""
        self.claims.append(form.format(*values))

    def rows(self, form: str, rows: Iterable[Sequence[Any]]) -> None:
        """The same for each row of a table."""
        for row in rows:
            self.says(form, *row)

    def given(self, *texts: str) -> None:
        """These texts hold figures that were chosen, dated or quoted, not measured here."""
        self.givens.extend(texts)

    def unsaid(self) -> list[str]:
        """Claims and givens that the page lacks, each with the nearest line of it."""
        text, lines = _flat(self.text), [_flat(line) for line in self.text.splitlines()]
        return [
            f"{claim!r}; nearest: {get_close_matches(_flat(claim), lines, 1, 0.3)}"
            for claim in (*self.claims, *self.givens)
            if _flat(claim) not in text
        ]

    def bare(self) -> list[str]:
        """Figures that no claim covers, each with what stands around it."""
        text, in_table = _flat_with_tables(self.text)
        covered = bytearray(len(text))
        for match in (*_SILENT.finditer(text), *_VERSION.finditer(text)):
            covered[match.start() : match.end()] = b"\1" * len(match.group())
        for claim in (*self.claims, *self.givens):
            wanted = _flat(claim)
            at = text.find(wanted)
            while at >= 0:
                covered[at : at + len(wanted)] = b"\1" * len(wanted)
                at = text.find(wanted, at + 1)
        measured = {m.start() for m in _MEASURED.finditer(text)}
        found = []
        for match in _FIGURE.finditer(text):
            counts = match.start() in measured or "." in match.group() or "," in match.group()
            if (counts or in_table[match.start()]) and not covered[match.start()]:
                found.append(text[max(0, match.start() - 40) : match.end() + 20])
        return found

    @property
    def text(self) -> str:
        return (ROOT / self.path).read_text(encoding="utf-8")


Claims = Callable[[Page], None]
PAGES: dict[str, Claims] = {}


def page(path: str) -> Callable[[Claims], Claims]:
    """Declare a page's claims."""

    def keep(claims: Claims) -> Claims:
        PAGES[path] = claims
        return claims

    return keep


def read(path: str) -> Page:
    """A page with all its claims made."""
    found = Page(path)
    PAGES[path](found)
    return found


def _flat(text: str) -> str:
    """One space wherever there is any, so that a claim may cross lines."""
    return " ".join(text.split())


def _flat_with_tables(text: str) -> tuple[str, list[bool]]:
    """The page as `_flat` makes it, and of each character whether it lies in a table's row."""
    without_code = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    words: list[str] = []
    flags: list[bool] = []
    for line in without_code.splitlines():
        flat = _flat(line)
        if not flat:
            continue
        words.append(flat)
        flags += [flat.startswith("|") and not flat.startswith("|--")] * (len(flat) + 1)
    return " ".join(words), flags
