"""A rule such as `wer<0.3 and batch>=4` and rows of a sweep in, the rows that satisfy it out.

The language is that of `layerscope.core.rules`; the names are a row's numbers, and with `=` and `!=`
every other field of its configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from layerscope.core import rules
from layerscope.core.errors import UsageError
from layerscope.core.rules import Comparison, Rule
from layerscope.core.words import did_you_mean
from layerscope.records import RunConfig
from layerscope.records.sweep import SweepRow
from layerscope.stats.sweep_tables import NUMBERS, value

_TEXTS = tuple(f.name for f in fields(RunConfig) if f.name not in NUMBERS)


def parse_rule(text: str) -> Rule:
    """Read a rule.

    Raises:
        UsageError: it does not follow the grammar, or names what no row has.
    """

    def refuse(what: str) -> UsageError:
        return UsageError(f"--where {text!r}: {what}")

    rule = rules.parse_rule(text, example="wer<0.3", refuse=refuse)
    for comparison in rule.comparisons:
        wrong = _wrong(comparison)
        if wrong:
            raise refuse(wrong)
    return rule


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
    found = [row for row in rows if row.measured and (rule is None or _satisfies(row, rule))]
    if minimise is None:
        return tuple(found)
    having = [(number, row) for row in found if (number := value(row, minimise)) is not None]
    return tuple(row for _, row in sorted(having, key=lambda pair: pair[0]))


def _satisfies(row: SweepRow, rule: Rule) -> bool:
    """Whether the row has values that satisfy it; a value not measured satisfies nothing."""

    def judge(comparison: Comparison) -> bool:
        if comparison.name not in NUMBERS:
            own = str(getattr(row.config, comparison.name)).lower()
            return comparison.holds(own, comparison.value.word.lower())
        found = value(row, comparison.name)
        return found is not None and comparison.holds(found, comparison.value.number)

    return rule.holds(judge)


def _wrong(comparison: Comparison) -> str:
    """What is wrong with a comparison's name or value; empty when nothing is."""
    name, given = comparison.name, comparison.value
    if name in NUMBERS:
        plain = given.number is not None and not given.is_percent
        return "" if plain else f"`{name}` is a number, {given} is not."
    if name not in _TEXTS:
        return f"unknown name `{rules.shown(name)}`; {_near(name, _TEXTS + NUMBERS)}"
    if comparison.sign in rules.ORDERED:
        return f"`{name}` is no number; use = or !=."
    return ""


def _near(name: str, known: Sequence[str]) -> str:
    return did_you_mean(name, known, f"known are {', '.join(NUMBERS)}.")
