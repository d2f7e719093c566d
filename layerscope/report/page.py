"""Lines and plain tables in, text on a rich console out.

Names come from models, data sets and traces, so they are printed literally: never as rich markup,
never with a control character that would drive the terminal. Numbers are never shortened; only a
table's first column is, in the middle, and only on a terminal narrower than the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_GAP = "  "
_SHORTEST_NAME = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A table to print. The first column holds names, `text` names the others aligned left.

    A `footer` row stands below a rule, as a sum does.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    footer: tuple[str, ...] | None = None
    text: frozenset[str] = frozenset()


class Page:
    """Writes to one console; lines pass through whole, however narrow it is."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str = "", style: str = "") -> None:
        """Print one line literally."""
        safe = printable(text, self._console.encoding)
        self._console.print(Text(safe, style=style), soft_wrap=True, highlight=False)

    def field(self, label: str, value: str) -> None:
        """Print `label     value` under the lines that stand above it."""
        self.line(f"{label:<10}{_GAP}{value}")

    def grid(self, grid: Grid) -> None:
        """Print a table with its title and a blank line before it."""
        encoding = self._console.encoding
        # Made printable before they are measured: an escaped character is wider than it was.
        rows = [[printable(cell, encoding) for cell in row] for row in grid.rows]
        footer = None if grid.footer is None else [printable(c, encoding) for c in grid.footer]
        measured = [list(grid.header), *rows, *([footer] if footer else [])]
        widths = [max(map(_cells, column)) for column in zip(*measured, strict=True)]
        widths[0] = self._first_width(widths)
        left = [i == 0 or name in grid.text for i, name in enumerate(grid.header)]
        rule = _GAP.join("-" * width for width in widths)
        self.line()
        self.line(grid.title, style="bold")
        self.line(_aligned(list(grid.header), widths, left), style="bold")
        self.line(rule, style="dim")
        if lines := [_aligned(row, widths, left) for row in rows]:
            # All at once: rich takes its time for each piece of text, however short.
            self._console.print(Text("\n".join(lines)), soft_wrap=True, highlight=False)
        if footer:
            self.line(rule, style="dim")
            self.line(_aligned(footer, widths, left), style="bold")

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
    return text.encode(encoding, "backslashreplace").decode(encoding)


def shorten_middle(name: str, width: int) -> str:
    """The name in at most `width` terminal cells; head and tail stay, `..` stands between them."""
    if _cells(name) <= width:
        return name
    head, tail = (width - 2 + 1) // 2, (width - 2) // 2
    return f"{_fitting(name, head)}..{_fitting(name[::-1], tail)[::-1]}"


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
        shown = shorten_middle(cell, width) if index == 0 else cell
        pad = " " * (width - _cells(shown))
        parts.append(shown + pad if left[index] else pad + shown)
    return _GAP.join(parts).rstrip()
