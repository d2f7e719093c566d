"""Digits and units, by hand, and what holds for every number."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.core.units import (
    ms,
    ms_grouped,
    ms_number,
    ms_two,
    percent,
    percent_fixed,
    percent_two,
    prefixed,
    significant,
    size_text,
    two_digits,
    us,
)
from layerscope.records.plausible_ceilings import impossible, rate_text, unlikely
from layerscope.records.work import Ceilings


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1867, "0.19"), (8.05, "8.1"), (83.7, "84"), (99.6, "100"), (1268.0, "1,300"),
        (0.000437, "0.00044"), (0.0, "0"), (-2.44, "-2.4"), (9.96, "10"), (float("nan"), "nan"),
    ],
)  # fmt: skip
def test_two_digits(value: float, text: str) -> None:
    assert two_digits(value) == text


def test_shares_and_times() -> None:
    assert (percent_two(8.34), percent_two(0.0523), percent_two(0.834)) == (
        "830 %",
        "5.2 %",
        "83 %",
    )
    assert (ms_two(83_700_000), ms_two(2e6), ms_two(253_400)) == ("84 ms", "2.0 ms", "0.25 ms")


def test_rates_carry_three() -> None:
    assert rate_text("float16", 7.734e14) == "773 TFLOP/s"
    assert rate_text("float32", 1.4e9) == "0.00140 TFLOP/s"
    assert rate_text("copy", 4.169e12) == "4,170 GB/s"
    assert rate_text("copy", 9.996e9) == "10.0 GB/s"
    assert rate_text("float16", math.inf) == "inf TFLOP/s"


def h200(**rates: float) -> Ceilings:
    sheet = {"float16": 989e12, "bfloat16": 989e12, "tf32": 494e12, "float32": 67e12}
    plain = {"float16": 770e12, "bfloat16": 770e12, "tf32": 380e12, "float32": 51e12}
    copy = rates.pop("copy", 4.1e12)
    return Ceilings(
        key="", device="NVIDIA H200", measured_utc="", matmul_flops_per_s={**plain, **rates},
        matmul_shape={}, copy_bytes_per_s=copy, method="", datasheet_flops_per_s=sheet,
        datasheet_bytes_per_s=4.8e12,
    )  # fmt: skip


def test_what_a_maker_states_bounds_what_is_believed() -> None:
    assert not impossible(h200())
    assert not unlikely(h200())
    assert "float32" in impossible(h200(float32=78e12))  # 1.16 of 67
    assert not impossible(h200(float32=77e12))
    assert "copy" in impossible(h200(copy=5.6e12))
    assert "copy" in unlikely(h200(copy=4e11))
    assert "tf32" in unlikely(h200(tf32=49e12))
    assert unlikely(h200(float16=51e12, float32=66e12)) == {
        "float16": unlikely(h200(float16=51e12))["float16"]
    }
    assert unlikely(h200(bfloat16=100e12, tf32=380e12, float32=66e12)) == {}


def test_times_of_a_sentence_and_of_a_figure() -> None:
    times = (1_011_501_593, 210_096_345, 98_230_000, 9_863_720, 253_056, 0)
    assert [ms(ns) for ns in times] == [
        "1,012 ms", "210 ms", "98.2 ms", "9.86 ms", "0.253 ms", "0.000 ms",
    ]  # fmt: skip
    assert [ms_number(ns) for ns in times] == ["1,012", "210.1", "98.2", "9.86", "0.253", "0.000"]
    assert (ms_grouped(1_011_501_593), ms_grouped(-253_056)) == ("1,011.502", "-0.253")
    assert us(1_234_567) == "1,234.6 µs"


def test_shares() -> None:
    assert [percent(share) for share in (0.3, 0.042, 0.0012)] == ["30 %", "4.2 %", "0.12 %"]
    assert (percent_fixed(0.3), percent_fixed(1, 3)) == ("30.00 %", "33.33 %")


@pytest.mark.parametrize(
    ("count", "unit", "decimals", "text"),
    [
        (1 << 20, "MiB", 1, "1.0 MiB"), (1_500_000, "MB", 1, "1.5 MB"), (0, "GB", 2, "0.00 GB"),
        (3 << 40, "GiB", 0, "3,072 GiB"), (8_449_000_000, "GB", 2, "8.45 GB"),
    ],
)  # fmt: skip
def test_sizes(count: int, unit: str, decimals: int, text: str) -> None:
    assert size_text(count, unit, decimals) == text


@pytest.mark.parametrize(
    ("value", "number", "prefix"),
    [
        (1.5e12, 1.5, "T"), (1e6, 1.0, "M"), (999_999, 999_999, ""), (0, 0, ""), (2e18, 2000.0, "P"),
        (-3e9, -3.0, "G"),
    ],
)  # fmt: skip
def test_prefixes(value: float, number: float, prefix: str) -> None:
    assert prefixed(value) == (number, prefix)


@given(
    st.floats(min_value=1e-12, max_value=1e15) | st.floats(min_value=-1e15, max_value=-1e-12),
    st.integers(1, 6),
)
def test_a_rounded_number_is_near_and_has_no_more_digits(value: float, digits: int) -> None:
    text = significant(value, digits)
    read = float(text.replace(",", ""))
    assert abs(read - value) <= 0.5000001 * 10 ** (1 - digits) * abs(value)
    if abs(read) < 10 ** (digits - 1):  # no zeros that stand in for digits left of the point
        assert len(text.lstrip("-0.").replace(".", "").replace(",", "")) == digits
