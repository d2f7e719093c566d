"""Samples in the order taken in, the factor out by which likeness of neighbours widens an interval.

Batches timed one after the other are alike: clocks, caches and other work change slowly. An interval
for independent samples then promises too much: at a first-order autoregressive correlation of 0.7 its
"95 %" hold the truth in 65 %. How alike neighbours are has to be estimated, and poorly: from 24 samples
at 0.7 the estimate falls short by 0.13 on average and scatters by 0.15 (Kendall 1954, Biometrika 41), so
putting it into a formula is not enough.

Hence the level is judged under every correlation that the samples leave possible. For a stationary
first-order process with correlation r, level and variance unknown, the level has Student's t around
its generalised least squares estimate; r itself has a posterior density, from a flat prior over [0, 1)
(Zellner and Tiao 1964, Journal of the American Statistical Association 59). The mixture's 95 %
interval over that of independent samples is the factor. Samples are taken as normal scores of their
ranks, so that one slow batch in fifty neither hides nor makes a likeness.
"""

from __future__ import annotations

from math import erf, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from layerscope.stats.student import t_975

CONFIDENCE = 0.95
# Up to 0.98: what lies beyond, no run of a few hundred batches could tell from a drift.
_CORRELATIONS = np.linspace(0.0, 0.98, 50)
_Z_975 = NormalDist().inv_cdf(0.975)
_HALVINGS = 40

Floats = NDArray[np.float64]


def widening(samples: Floats) -> float:
    """How many times wider the interval of the level must be than for independent samples; >= 1.

    Args:
        samples: in the order taken, at least three. Shape (samples,).
    """
    scores = _normal_scores(samples)
    independent = t_975(len(scores) - 1) * float(scores.std(ddof=1)) / sqrt(len(scores))
    if independent <= 0:
        return 1.0
    weight, level, error = _posterior(scores)
    middle = float(weight @ level)
    # Student's t with this many degrees of freedom is a stretched normal, to a per cent at 95 %.
    scale = error * (t_975(len(scores) - 1) / _Z_975)
    low, high = 0.0, 50 * float(scale.max())
    for _ in range(_HALVINGS):
        reach = (low + high) / 2
        above = _normal_below((middle + reach - level) / scale)
        inside = float(weight @ (above - _normal_below((middle - reach - level) / scale)))
        low, high = (reach, high) if inside < CONFIDENCE else (low, reach)
    return max(1.0, high / independent)


def _posterior(z: Floats) -> tuple[Floats, Floats, Floats]:
    """For each correlation its weight, and the level's estimate and standard error under it."""
    n, r = len(z), _CORRELATIONS
    early, late = z[:-1], z[1:]
    # Precision of the level in units of the innovations' variance.
    precision = (1 - r) * ((1 + r) + (n - 1) * (1 - r))
    steps = late.sum() - r * early.sum()
    level = ((1 - r**2) * z[0] + (1 - r) * steps) / precision
    squares = (
        (1 - r**2) * (z[0] - level) ** 2
        + (late @ late - 2 * r * (early @ late) + r**2 * (early @ early))
        - 2 * (1 - r) * level * steps
        + (n - 1) * ((1 - r) * level) ** 2
    )
    logs = (np.log1p(-(r**2)) - np.log(precision) - (n - 1) * np.log(squares)) / 2
    weight = np.exp(logs - logs.max())
    return weight / weight.sum(), level, np.sqrt(squares / (precision * (n - 1)))


def _normal_scores(samples: Floats) -> Floats:
    """Blom's normal scores of the ranks; equal samples share the mean of theirs."""
    _, place, count = np.unique(samples, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    rank = (last - (count - 1) / 2)[place]
    normal = NormalDist()
    n = len(samples)
    return np.array([normal.inv_cdf((value - 0.375) / (n + 0.25)) for value in rank])


def _normal_below(values: Floats) -> Floats:
    return np.array([(1 + erf(value / sqrt(2))) / 2 for value in values.tolist()])
