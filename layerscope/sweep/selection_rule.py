"""A rule such as `wer<0.3 and batch>=4` and rows of a sweep in, the rows that satisfy it out.

The rule is read by a grammar of its own, never evaluated as code:

    rule       := clause {"or" clause}
    clause     := comparison {("and" | ",") comparison}
    comparison := name ("<" | "<=" | ">" | ">=" | "==" | "=" | "!=") (number | word)
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from layerscope.core.errors import UsageError
from layerscope.core.words import did_you_mean
from layerscope.records import RunConfig
from layerscope.records.sweep import SweepRow
from layerscope.stats.sweep_tables import NUMBERS, value

_TOKEN = re.compile(
    r"\s*(?:(?P<sign><=|>=|==|!=|<|>|=)|(?P<comma>,)|"
    r"(?P<quoted>'[^']*'|\"[^\"]*\")|(?P<word>[^\s<>=!,'\"]+))"
)
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
}
_ORDERED = ("<", "<=", ">", ">=")
_TEXTS = tuple(f.name for f in fields(RunConfig) if f.name not in NUMBERS)


@dataclass(frozen=True)
class Comparison:
    """One `name sign literal`."""

    name: str
    sign: str
    literal: float | str

    def holds(self, row: SweepRow) -> bool:
        """Whether the row has a value that satisfies it; a value not measured satisfies nothing."""
        if self.name in NUMBERS:
            found = value(row, self.name)
            return found is not None and _SIGNS[self.sign](found, self.literal)
        return _SIGNS[self.sign](str(getattr(row.config, self.name)).lower(), self.literal)


@dataclass(frozen=True)
class Rule:
    """Clauses, one of which must hold; each is comparisons, all of which must hold."""

    clauses: tuple[tuple[Comparison, ...], ...]

    def holds(self, row: SweepRow) -> bool:
        """Whether a measured row satisfies the rule."""
        return row.measured and any(
            all(comparison.holds(row) for comparison in clause) for clause in self.clauses
        )


def parse_rule(text: str) -> Rule:
    """Read a rule.

    Raises:
        UsageError: it does not follow the grammar, or names what no row has.
    """
    tokens = _tokens(text)
    clauses: list[list[Comparison]] = [[]]
    position = 0
    while True:
        clauses[-1].append(_comparison(tokens[position : position + 3], text))
        position += 3
        if position == len(tokens):
            return Rule(tuple(tuple(clause) for clause in clauses))
        joint = tokens[position].lower()
        if joint == "or":
            clauses.append([])
        elif joint not in ("and", ","):
            raise UsageError(
                f"--where {text!r}: `and`, `or` or a comma was expected before {tokens[position]!r}."
            )
        position += 1


def check_number(name: str, option: str) -> str:
    """The name of a number that rows have.

    Raises:
        UsageError: there is none of that name; the nearest is named.
    """
    if name in NUMBERS:
        return name
    raise UsageError(f"{option} {name}: no such number; {_near(name, NUMBERS)}")


def select(
    rows: Sequence[SweepRow], rule: Rule | None, minimise: str | None
) -> tuple[SweepRow, ...]:
    """The measured rows that satisfy the rule; under `minimise`, those that have it, least first."""
    found = [row for row in rows if row.measured and (rule is None or rule.holds(row))]
    if minimise is None:
        return tuple(found)
    having = [(number, row) for row in found if (number := value(row, minimise)) is not None]
    return tuple(row for _, row in sorted(having, key=lambda pair: pair[0]))


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    stripped = text.rstrip()
    while position < len(stripped):
        found = _TOKEN.match(stripped, position)
        if found is None:
            raise UsageError(f"--where {text!r}: cannot be read from {stripped[position:]!r} on.")
        tokens.append(found.group().strip())
        position = found.end()
    return tokens


def _comparison(tokens: list[str], text: str) -> Comparison:
    if len(tokens) < 3 or tokens[1] not in _SIGNS:
        shown = " ".join(tokens) or "nothing"
        raise UsageError(
            f"--where {text!r}: a comparison such as wer<0.3 was expected, found {shown}."
        )
    name, sign, literal = tokens
    if name in NUMBERS:
        try:
            return Comparison(name, sign, float(literal))
        except ValueError:
            raise UsageError(f"--where {text!r}: `{name}` is a number, {literal} is not.") from None
    if name not in _TEXTS:
        raise UsageError(
            f"--where {text!r}: unknown name `{name}`; {_near(name, _TEXTS + NUMBERS)}"
        )
    if sign in _ORDERED:
        raise UsageError(f"--where {text!r}: `{name}` is no number; use = or !=.")
    return Comparison(name, sign, literal.strip("'\"").lower())


def _near(name: str, known: Sequence[str]) -> str:
    return did_you_mean(name, known, f"known are {', '.join(NUMBERS)}.")
