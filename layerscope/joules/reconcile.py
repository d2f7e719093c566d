"""Estimates and a measured whole in, integers that sum to the whole out, each in its proportion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import TypeVar

from layerscope.account.largest_remainder import deal

Key = TypeVar("Key")


def reconcile(estimates: Mapping[Key, float], whole: int) -> dict[Key, int]:
    """Scale the estimates by one factor and round by largest remainder; the sum is exact.

    Every result lies within 1 of its exact share. An estimate of 0 stays 0 unless the rounding needs
    it, which it never does while any other has a fraction.

    Args:
        estimates: in any unit; their sum must be positive. Single ones may be negative: a layer that
            draws nothing is measured with noise on both sides of nothing.
        whole: what they must sum to, in the smallest unit of the result.

    Raises:
        ValueError: the estimates do not sum to something positive.
    """
    exact = {key: Fraction(value) for key, value in estimates.items()}
    total = sum(exact.values(), Fraction(0))
    if total <= 0:
        raise ValueError("the estimates sum to nothing, so no factor reaches the whole")
    common = math.lcm(*(value.denominator for value in exact.values()))
    parts = deal(whole, [int(value * common) for value in exact.values()])
    return dict(zip(exact, parts, strict=True))
