"""The language of rules: by hand, and printed rules that are read as themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.core.errors import UsageError
from layerscope.core.rules import SIGNS, Comparison, Rule, Value, parse_rule
from layerscope.differences import parse_condition
from layerscope.sweep import selection_rule


def refuse(what: str) -> UsageError:
    return UsageError(f"--option: {what}")


def read(text: str) -> Rule:
    return parse_rule(text, example="a<1", refuse=refuse)


WORDS = st.from_regex(r"[^\s<>=!,'\"]+", fullmatch=True)
VALUES = st.one_of(
    st.integers(-1000, 1000).map(str),
    st.floats(allow_nan=False).map(str),
    st.decimals(-10, 10, places=2).map(lambda number: f"{number}%"),
    st.decimals(-10, 10, places=2).map(lambda number: f"{number} %"),
    WORDS,
    st.text().filter(lambda text: "'" not in text).map(lambda text: f"'{text}'"),
)
COMPARISONS = st.builds(Comparison, WORDS, st.sampled_from(sorted(SIGNS)), VALUES.map(Value))
CLAUSES = st.lists(COMPARISONS, min_size=1, max_size=3).map(tuple)
RULES = st.lists(CLAUSES, min_size=1, max_size=3).map(tuple).map(Rule)


def test_and_binds_tighter_than_or() -> None:
    rule = read("wer<0.3 and batch>=4, x=y OR latency != 5%")
    first, second = rule.clauses
    assert [str(comparison) for comparison in first] == ["wer < 0.3", "batch >= 4", "x = y"]
    assert [str(comparison) for comparison in second] == ["latency != 5%"]
    assert str(rule) == "wer < 0.3 and batch >= 4 and x = y or latency != 5%"


@pytest.mark.parametrize(
    ("text", "number", "percent", "word"),
    [
        ("0.3", 0.3, False, "0.3"),
        ("-1e3", -1000.0, False, "-1e3"),
        ("5%", 5.0, True, "5%"),
        ("5   %", 5.0, True, "5 %"),
        ("fp16", None, False, "fp16"),
        ("%", None, False, "%"),
        ("'two words, or 3'", None, False, "two words, or 3"),
        ("'5'", None, False, "5"),
    ],
)
def test_values(text: str, number: float | None, percent: bool, word: str) -> None:
    value = read(f"name={text}").comparisons[0].value
    assert (value.number, value.is_percent, value.word) == (number, percent, word)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a comparison such as a<1 was expected, found nothing"),
        ("a<", "found a <"),
        ("a<1 or", "found nothing"),
        ("a<1 b<2", "`and`, `or` or a comma was expected before 'b'"),
        ("a<5 % %", "expected before '%'"),
        ("a!1", "cannot be read from '!1' on"),
        ("a='b", 'cannot be read from "\'b" on'),
    ],
)
def test_the_fault_and_its_place_are_named(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert said in str(caught.value)


def test_a_rule_holds_where_all_of_one_clause_do() -> None:
    rule = read("a<1 and b<1 or c<1")
    for true, expected in (("ab", True), ("a", False), ("c", True), ("", False)):
        assert rule.holds(lambda comparison, true=true: comparison.name in true) is expected


@given(RULES)
def test_a_printed_rule_is_read_as_itself(rule: Rule) -> None:
    assert read(str(rule)) == rule


@given(st.one_of(st.text(), RULES.map(str)))
def test_any_text_is_a_rule_or_refused_in_one_line(text: str) -> None:
    for parse in (read, selection_rule.parse_rule, parse_condition):
        said = "read"
        try:
            parse(text)
        except UsageError as error:
            said = str(error)
        assert len(said.splitlines()) == 1


@pytest.mark.parametrize("text", ["latency>5% and wer>1", "latency>5%, wer>1", "wer>1 or flops>2"])
def test_a_condition_is_one_limit(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"not METRIC OP VALUE.*but 2; give --fail-on once for each"
    ):
        parse_condition(text)


@pytest.mark.parametrize("text", ["wer<5%", "wer < 5 %"])
def test_numbers_of_a_sweep_are_no_shares(text: str) -> None:
    with pytest.raises(UsageError, match=r"--where .*: `wer` is a number, 5 ?% is not"):
        selection_rule.parse_rule(text)
