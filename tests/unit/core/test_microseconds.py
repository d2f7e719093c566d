from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.core.microseconds import ns_of, us_grouped, us_number, us_text


def test_exactly_three_decimals() -> None:
    assert us_text(253_056) == "253.056"
    assert us_text(0) == "0.000"
    assert us_text(7) == "0.007"
    assert us_text(-1) == "-0.001"
    assert us_grouped(210_096_345) == "210,096.345"
    # A float of microseconds would lose the last digit here.
    assert us_text(9_007_199_254_740_993_001) == "9007199254740993.001"


@given(st.integers())
def test_round_trip(ns: int) -> None:
    assert ns_of(us_text(ns)) == ns


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_number_is_the_decimal(ns: int) -> None:
    assert us_number(ns) == float(us_text(ns))


@pytest.mark.parametrize(
    "text", ["", "1", "1.0", "1.0000", "1e3", " 1.000", "1.000 ", "٣.000", "nan"]
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="three decimals"):
        ns_of(text)
