"""Student's t: degrees of freedom in, its percentiles out."""

from __future__ import annotations

from functools import cache
from math import sqrt

from layerscope.stats.beta import beta_quantile

# For 1 to 30 degrees of freedom.
_T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


def t_975(freedom: int) -> float:
    """97.5th percentile of Student's t; above 30 degrees the first two terms past the normal."""
    if freedom <= len(_T_975):
        return _T_975[freedom - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom)


@cache
def t_quantile(probability: float, freedom: int) -> float:
    """A quantile above the median of Student's t.

    freedom / (freedom + t^2) is of the beta distribution with freedom / 2 and 1 / 2.
    """
    share = beta_quantile(2 * (1 - probability), freedom / 2, 0.5)
    return sqrt(freedom * (1 - share) / share)
