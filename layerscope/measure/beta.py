"""Quantiles of the beta distribution, which every exact interval of a share is made of."""

from __future__ import annotations

from math import exp, lgamma, log, log1p

_TERMS = 10_000
_TINY = 1e-300


def beta_quantile(share: float, a: float, b: float) -> float:
    """The value below which `share` of Beta(a, b) lies, to 1e-10 of it or better; a, b > 0."""
    low, high = 0.0, 1.0
    # Halving needs no derivative, which at a < 1 has no end at 0. Small quantiles need more of it.
    for _ in range(200):
        middle = (low + high) / 2
        if beta_below(middle, a, b) < share:
            low = middle
        else:
            high = middle
        if high - low <= 1e-11 * high:
            break
    return (low + high) / 2


def beta_below(x: float, a: float, b: float) -> float:
    """P(Beta(a, b) <= x): the regularised incomplete beta function (Abramowitz and Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    weight = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    # The fraction converges fast on this side of the mean, and the two sides sum to 1.
    if x < (a + 1) / (a + b + 2):
        return weight * _fraction(x, a, b) / a
    return 1 - weight * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    below = 1.0
    above = _inverse(1 - (a + b) * x / (a + 1))
    value = above
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            above = _inverse(1 + term * above)
            below = 1 + term / below or _TINY
            step = above * below
            value *= step
        if abs(step - 1) < 1e-14:
            break
    return value


def _inverse(value: float) -> float:
    return 1 / (value or _TINY)
