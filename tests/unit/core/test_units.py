"""Two digits, by hand."""

from __future__ import annotations

import math

import pytest

from layerscope.core.units import ms_two, percent_two, two_digits
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
    assert rate_text("copy", 9.996e9) == "10.00 GB/s" or rate_text("copy", 9.996e9) == "10.0 GB/s"
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
