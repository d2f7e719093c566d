"""Names that are nearly right, what an error says, lists and counts in a sentence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.core.words import (
    LONGEST,
    counted,
    did_you_mean,
    first_line,
    kind_and_first_line,
    listed,
    nearest,
    one_line,
)

KNOWN = ("batch_size", "image_size", "dtype", "latency", "batch_limit")


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("batchsize", "did you mean `batch_size`?"),
        ("image_sise", "did you mean `image_size`?"),
        ("latnecy", "did you mean `latency`?"),
        ("zzz", "known: all"),
        ("", "known: all"),
        (17, "known: all"),  # what YAML makes of a key
    ],
)
def test_a_misspelt_name(said: object, hint: str) -> None:
    assert did_you_mean(said, KNOWN, "known: all") == hint


def test_the_name_as_its_message_quotes_it() -> None:
    assert did_you_mean("dtyp", KNOWN, quote="") == "did you mean dtype?"
    assert did_you_mean("dtyp", KNOWN, quote="'") == "did you mean 'dtype'?"
    assert did_you_mean("dtyp", iter(KNOWN), quote="") == "did you mean dtype?"
    assert did_you_mean("dtyp", ()) == ""


@given(st.text(), st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_there_is_always_a_nearest_name_and_a_known_one_is_its_own(
    said: str, known: list[str]
) -> None:
    assert nearest(said, known) in known
    assert nearest(known[-1], known) == known[-1]


def test_nothing_known_has_no_nearest() -> None:
    with pytest.raises(ValueError, match="no name"):
        nearest("a", ())


@pytest.mark.parametrize(
    ("error", "line", "with_kind"),
    [
        (ValueError("one\ntwo"), "one", "ValueError: one"),
        (ValueError("\n\n  one  \r\ntwo"), "one", "ValueError: one"),
        (KeyError("axis"), "'axis'", "KeyError: 'axis'"),
        (ValueError(), "ValueError", "ValueError"),
        (ValueError(" \n\t"), "ValueError", "ValueError"),
        (OSError(28, "No space left"), "[Errno 28] No space left", None),
        (ImportError("cannot import x (see below):\ntraceback"), None,
         "ImportError: cannot import x (see below)"),
    ],
)  # fmt: skip
def test_the_first_line_of_an_error(
    error: Exception, line: str | None, with_kind: str | None
) -> None:
    if line is not None:
        assert first_line(error) == line
    if with_kind is not None:
        assert kind_and_first_line(error) == with_kind


def test_an_error_of_one_very_long_line() -> None:
    long = RuntimeError("x" * 1000)
    assert first_line(long) == "x" * LONGEST
    assert kind_and_first_line(long) == f"RuntimeError: {'x' * LONGEST}"
    assert first_line(long, longest=None) == "x" * 1000
    assert first_line(RuntimeError(), silent="no message") == "no message"


@given(st.text(), st.integers(1, 50))
def test_whatever_is_said_becomes_one_line(text: str, longest: int) -> None:
    error = ValueError(text)
    for said in (first_line(error), kind_and_first_line(error), one_line(error)):
        assert len(said.splitlines()) <= 1
    assert 1 <= len(first_line(error, silent="-", longest=longest)) <= longest
    assert len(one_line(error, longest=longest)) <= longest


def test_all_lines_joined() -> None:
    assert one_line(ValueError("a\n  b\tc ")) == "a b c"


def test_lists_and_counts() -> None:
    assert [listed(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert (counted(1, "layer"), counted(24, "layer")) == ("1 layer", "24 layers")
    assert counted(2_000, "copy", "copies") == "2,000 copies"
