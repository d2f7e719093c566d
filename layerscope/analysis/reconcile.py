"""Estimates and a measured whole in, integers that sum to the whole out, each in its proportion."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TypeVar

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
    shares = {key: value * whole / total for key, value in exact.items()}
    floors = {key: share.numerator // share.denominator for key, share in shares.items()}
    missing = whole - sum(floors.values())
    first = sorted(shares, key=lambda key: floors[key] - shares[key])
    for key in first[:missing]:
        floors[key] += 1
    return floors
