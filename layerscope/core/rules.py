"""A rule such as `wer<0.3 and batch>=4` in, its comparisons out: one language for every option that
takes a rule.

A rule is read by a grammar of its own, never evaluated as code:

    rule       := clause {"or" clause}
    clause     := comparison {("and" | ",") comparison}
    comparison := name sign value
    sign       := "<" | "<=" | ">" | ">=" | "==" | "=" | "!="
    value      := number ["%"] | word | quoted text

`and` and `or` may be written in capitals; `and` binds tighter. Which names there are, and what a
comparison says of them, is the option's own: `--where` and `--fail-on` are two.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from layerscope.core.errors import UsageError

SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
}
# Signs that only numbers can stand beside.
ORDERED = ("<", "<=", ">", ">=")
_TOKEN = re.compile(
    r"\s*(?:(?P<sign><=|>=|==|!=|<|>|=)|(?P<comma>,)|"
    r"(?P<quoted>'[^']*'|\"[^\"]*\")|(?P<word>[^\s<>=!,'\"]+))"
)
# Turns what is wrong with a rule into the error of the option that it was given to.
Refuse = Callable[[str], UsageError]


@dataclass(frozen=True, slots=True)
class Value:
    """What stands right of a sign, as it was written, quotes included."""

    text: str

    @property
    def number(self) -> float | None:
        """The number without its per cent sign; None for a word or a quoted text."""
        try:
            return float(self.text.removesuffix("%"))
        except ValueError:
            return None

    @property
    def is_percent(self) -> bool:
        """Whether it is a number of hundredths."""
        return self.text.endswith("%") and self.number is not None

    @property
    def word(self) -> str:
        """The text without its quotes."""
        return self.text.strip("'\"")

    def __str__(self) -> str:
        """As it was written, on one line."""
        return shown(self.text)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One `name sign value`."""

    name: str
    sign: str
    value: Value

    def holds(self, found: Any, limit: Any) -> bool:
        """Whether what was found stands to the limit as the sign says."""
        return SIGNS[self.sign](found, limit)

    def __str__(self) -> str:
        """The comparison, written so that it is read as itself."""
        return f"{self.name} {self.sign} {self.value.text}"


@dataclass(frozen=True, slots=True)
class Rule:
    """Clauses, one of which must hold; each is comparisons, all of which must hold."""

    clauses: tuple[tuple[Comparison, ...], ...]

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """All of them, in the order they were written."""
        return tuple(comparison for clause in self.clauses for comparison in clause)

    def holds(self, judge: Callable[[Comparison], bool]) -> bool:
        """Whether the rule holds where `judge` says of each comparison whether it does."""
        return any(all(judge(comparison) for comparison in clause) for clause in self.clauses)

    def __str__(self) -> str:
        """The rule, written so that it is read as itself."""
        return " or ".join(" and ".join(map(str, clause)) for clause in self.clauses)


def parse_rule(text: str, *, example: str, refuse: Refuse) -> Rule:
    """Read a rule; names and values are for the caller to check.

    Args:
        example: a comparison as the option knows them, for the error.

    Raises:
        UsageError: what `refuse` makes of the fault, where the text does not follow the grammar.
    """
    tokens = _tokens(text, refuse)
    clauses: list[list[Comparison]] = [[]]
    position = 0
    while True:
        taken = tokens[position : position + 4]
        if len(taken) < 3 or taken[1] not in SIGNS:
            found = " ".join(map(shown, taken[:3])) or "nothing"
            raise refuse(f"a comparison such as {example} was expected, found {found}.")
        value = _value(taken[2:])
        clauses[-1].append(Comparison(taken[0], taken[1], value))
        position += 4 if value.text != taken[2] else 3
        if position == len(tokens):
            return Rule(tuple(tuple(clause) for clause in clauses))
        joint = tokens[position].lower()
        if joint == "or":
            clauses.append([])
        elif joint not in ("and", ","):
            raise refuse(f"`and`, `or` or a comma was expected before {tokens[position]!r}.")
        position += 1


def shown(text: str) -> str:
    """A part of a rule for a line of an error: as it is, or escaped where it would not stay on it."""
    return text if text.isprintable() else repr(text)


def _value(tokens: list[str]) -> Value:
    """The value that these begin with; a per cent sign may stand apart from its number."""
    alone = Value(tokens[0])
    if tokens[1:] == ["%"] and alone.number is not None and not alone.is_percent:
        return Value(f"{tokens[0]} %")
    return alone


def _tokens(text: str, refuse: Refuse) -> list[str]:
    tokens: list[str] = []
    position = 0
    stripped = text.rstrip()
    while position < len(stripped):
        found = _TOKEN.match(stripped, position)
        if found is None:
            raise refuse(f"cannot be read from {stripped[position:]!r} on.")
        tokens.append(found.group().strip())
        position = found.end()
    return tokens
