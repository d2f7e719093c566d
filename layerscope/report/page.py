"""Lines and plain tables in, text on a rich console out.

Names come from models, data sets and traces, so they are printed literally: never as rich markup,
never with a control character that would drive the terminal. Numbers are never shortened. On a
terminal narrower than a table, columns that it can do without go first, then the first column's names
lose what tells least; lines of text break at words.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_GAP = "  "
_SHORTEST_NAME = 12
_MORE = ".."
# Columns that a table can do without go until its names have so many cells, or all that they need.
_ROOM_FOR_NAMES = 40
# For encodings that have no others: times, a bar's parts, micro.
_PLAIN = str.maketrans({"×": "x", "█": "#", "▌": "#", "µ": "u", "…": "~", "·": "-"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A table to print. The first column holds names, `text` names the others aligned left.

    Attributes:
        footer: stands below a rule, as a sum does.
        spare: columns that a narrow terminal does without, the first to go first.
        marks: a style for a whole row, by its place.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    footer: tuple[str, ...] | None = None
    text: frozenset[str] = frozenset()
    spare: tuple[str, ...] = ()
    marks: Mapping[int, str] = field(default_factory=dict)

    def without(self, name: str) -> Grid:
        """The same table without one column."""
        at = self.header.index(name)

        def cut(cells: tuple[str, ...]) -> tuple[str, ...]:
            return (*cells[:at], *cells[at + 1 :])

        return replace(
            self,
            header=cut(self.header),
            rows=tuple(map(cut, self.rows)),
            footer=None if self.footer is None else cut(self.footer),
            spare=tuple(one for one in self.spare if one != name),
        )


class Page:
    """Writes to one console. On a terminal lines break at words; elsewhere they stay whole."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self._console.width

    def line(
        self, text: str = "", style: str = "", *, indent: int = 0, shorten: bool = False
    ) -> None:
        """Print one line literally.

        Args:
            indent: of what follows where it breaks.
            shorten: on a terminal one line alone, cut at a word.
        """
        safe = printable(text, self._console.encoding)
        for part in self._broken(safe, indent, shorten=shorten):
            self._console.print(Text(part, style=style), soft_wrap=True, highlight=False)

    def field(self, label: str, value: str, style: str = "", *, shorten: bool = False) -> None:
        """Print `label     value` under the lines that stand above it."""
        line = f"{label:<10}{_GAP}{value}"
        self.line(line, style, indent=10 + len(_GAP), shorten=shorten)

    def grid(self, grid: Grid, *, title: str = "", ruled: bool = True) -> None:
        """Print a table with its title; a ruled one with a blank line before it, and lines.

        Args:
            title: instead of its own.
        """
        grid = self._fitting(grid)
        encoding = self._console.encoding
        # Made printable before they are measured: an escaped character is wider than it was.
        rows = [[printable(cell, encoding) for cell in row] for row in grid.rows]
        footer = None if grid.footer is None else [printable(c, encoding) for c in grid.footer]
        measured = [list(grid.header), *rows, *([footer] if footer else [])]
        widths = [max(map(_cells, column)) for column in zip(*measured, strict=True)]
        widths[0] = self._first_width(widths)
        left = [i == 0 or name in grid.text for i, name in enumerate(grid.header)]
        rule = _GAP.join("-" * width for width in widths)
        if ruled:
            self.line()
        self.line(title or grid.title, style="bold", shorten=True)
        self.line(_aligned(list(grid.header), widths, left), style="bold" if ruled else "dim")
        if ruled:
            self.line(rule, style="dim")
        if rows:
            # All at once: rich takes its time for each piece of text, however short.
            text = Text()
            for at, row in enumerate(rows):
                text.append(_aligned(row, widths, left), style=grid.marks.get(at, ""))
                text.append("\n" if at + 1 < len(rows) else "")
            self._console.print(text, soft_wrap=True, highlight=False)
        if footer:
            self.line(rule, style="dim")
            self.line(_aligned(footer, widths, left), style="bold")

    def _broken(self, text: str, indent: int, *, shorten: bool) -> list[str]:
        width = self._console.width
        if not self._console.is_terminal or _cells(text) <= width:
            return [text]
        if shorten:
            kept = _fitting(text, width - len(_MORE) - 1)
            return [f"{kept.rpartition(' ')[0].rstrip(' ,;:') or kept} {_MORE}"]
        # A word longer than the line, such as an FQN or a path, stays whole: it can be copied.
        return textwrap.wrap(
            text, width, subsequent_indent=" " * min(indent, width // 2),
            break_long_words=False, break_on_hyphens=False, drop_whitespace=True,
        )  # fmt: skip

    def _fitting(self, grid: Grid) -> Grid:
        """Without as many of the spare columns as leave the names some room."""
        if not self._console.is_terminal:
            return grid
        while grid.spare:
            cells = [grid.header, *grid.rows, *([grid.footer] if grid.footer else [])]
            widths = [max(map(_cells, column)) for column in zip(*cells, strict=True)]
            wanted = min(widths[0], _ROOM_FOR_NAMES)
            if wanted + sum(widths[1:]) + len(_GAP) * (len(widths) - 1) <= self._console.width:
                break
            grid = grid.without(grid.spare[0])
        return grid

    def _first_width(self, widths: list[int]) -> int:
        if not self._console.is_terminal:
            return widths[0]
        spare = self._console.width - sum(widths[1:]) - len(_GAP) * (len(widths) - 1)
        return min(widths[0], max(spare, _SHORTEST_NAME))


def printable(text: str, encoding: str = "utf-8") -> str:
    """The text with control characters, and what the encoding lacks, as visible escapes."""
    if text.isascii() and text.isprintable():
        return text
    if not text.isprintable():
        text = "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
        )
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def shortened(name: str, width: int) -> str:
    """The name in at most `width` terminal cells, `..` where something is left out.

    An FQN loses whole names: the first, then those nearest to its end, last those that a number
    counts; never a block's number or `*`. What is no FQN, or still too long, is cut in the middle.
    """
    if _cells(name) <= width:
        return name
    fqn, times, count = name.partition(" ×")
    names = fqn.split(".")
    short = name
    for keep in _sacrifices(names):
        short = _joined(names, keep) + times + count
        if _cells(short) <= width:
            return short
    head, tail = (width - 2 + 1) // 2, (width - 2) // 2
    return f"{_fitting(short, head)}..{_fitting(short[::-1], tail)[::-1]}"


def _sacrifices(names: list[str]) -> Iterator[list[bool]]:
    """Which names stay, one fewer each time; numbers, and the last name, to the end."""
    keep = [True] * len(names)
    counts = [_is_block(name) for name in names]
    counted = [*counts[1:], False]  # the name before a number
    given_up = [at for at in range(len(names) - 1) if not counts[at]]
    for at in sorted(given_up, key=lambda at: (counted[at], at > 0, -at)):
        keep[at] = False
        yield list(keep)


def _joined(names: list[str], keep: list[bool]) -> str:
    parts: list[str] = []
    for name, stays in zip(names, keep, strict=True):
        if stays:
            parts.append(name)
        elif not parts or parts[-1] != "":
            parts.append("")  # between two dots: what was left out
    return ".".join(parts) if parts[0] else "." + ".".join(parts)


def _is_block(name: str) -> bool:
    return bool(name) and all(c.isdecimal() or c in "*+-…" for c in name)


def _cells(text: str) -> int:
    """Terminal cells of printable text; rich's own count walks every character."""
    return len(text) if text.isascii() else cell_len(text)


def _fitting(text: str, width: int) -> str:
    end = min(len(text), width)
    while cell_len(text[:end]) > width:
        end -= 1
    return text[:end]


def _aligned(cells: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> str:
    parts = []
    for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        shown = shortened(cell, width) if index == 0 else cell
        pad = " " * (width - _cells(shown))
        parts.append(shown + pad if left[index] else pad + shown)
    return _GAP.join(parts).rstrip()
