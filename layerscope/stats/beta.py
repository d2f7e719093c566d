"""Quantiles of the beta distribution, which every exact interval of a share is made of."""

from __future__ import annotations

from math import exp, lgamma, log, log1p

_TERMS = 10_000
_STEPS = 300
_TINY = 1e-300


def beta_quantile(share: float, a: float, b: float) -> float:
    """The value below which `share` of Beta(a, b) lies, to 1e-10 of it or better; a, b > 0."""
    low, high, at = 0.0, 1.0, a / (a + b)
    for _ in range(_STEPS):
        off = beta_below(at, a, b) - share
        low, high = (at, high) if off < 0 else (low, at)
        density = exp(_log_weight(at, a, b)) / (at * (1 - at)) if 0 < at < 1 else 0.0
        after = at - off / density if density else low
        if not low < after < high:  # Newton's step leaves the bracket: halve it
            after = (low + high) / 2
        if abs(after - at) <= 1e-12 * after:
            return after
        at = after
    return at


def beta_below(x: float, a: float, b: float) -> float:
    """P(Beta(a, b) <= x): the regularised incomplete beta function (Abramowitz and Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    weight = exp(_log_weight(x, a, b))
    # The fraction converges fast on this side of the mean, and the two sides sum to 1.
    if x < (a + 1) / (a + b + 2):
        return weight * _fraction(x, a, b) / a
    return 1 - weight * _fraction(1 - x, b, a) / b


def _log_weight(x: float, a: float, b: float) -> float:
    """log of x^a (1 - x)^b / B(a, b)."""
    return lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)


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
