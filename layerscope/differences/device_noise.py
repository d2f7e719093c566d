"""Device time of several traced batches a side in, the change with its interval and floor out.

Device time has two sources of noise. Within a run it is what the further traces of the same batch show.
Between equal runs there is more: another process lays memory out elsewhere, another card of the same
name clocks otherwise. That cannot be seen inside a run, so it is taken from equal runs that were
committed, whose relative standard deviations are in docs/results/statistics/device-time.md.

    reach^2 = (z sqrt(2) between)^2 + (t s sqrt(1/n1 + 1/n2))^2

with s pooled over the sides' traces, t of Student for their degrees of freedom and z of the normal, both
at 99 %. Where neither side has further traces, s is not known; in its place stands what the noisiest
traces of one run are taken to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, expm1, hypot, log, sqrt
from statistics import NormalDist, median

from layerscope.differences.noise import CONFIDENCE, Effect
from layerscope.records.interval import Interval
from layerscope.stats.student import t_quantile

# Relative standard deviation of device time between equal runs: the largest seen, 0.31 %, rounded up.
BETWEEN_RUNS = 0.004
# The same within a run that was traced once.
WITHIN_UNKNOWN = 0.003


def effect_of_device(base: Sequence[int], other: Sequence[int]) -> Effect | None:
    """The change of device time between two runs of one traced batch each, traced once or more.

    Args:
        base, other: nanoseconds of each trace.

    Returns:
        None where a side was not traced or took no time.
    """
    if not base or not other or min(*base, *other) <= 0:
        return None
    shift = log(median(other) / median(base))
    tail = (1 + CONFIDENCE) / 2
    between = NormalDist().inv_cdf(tail) * sqrt(2) * BETWEEN_RUNS
    freedom = len(base) + len(other) - 2
    within = NormalDist().inv_cdf(tail) * sqrt(2) * WITHIN_UNKNOWN
    if freedom:
        pooled = sqrt((_squares(base) + _squares(other)) / freedom)
        within = t_quantile(tail, freedom) * pooled * sqrt(1 / len(base) + 1 / len(other))
    reach = hypot(between, within)
    return Effect(
        relative=expm1(shift),
        interval=Interval(
            low=exp(shift - reach) - 1,
            high=exp(shift + reach) - 1,
            method="repeats of the traced batch (Student's t), and equal runs of before (normal)",
            confidence=CONFIDENCE,
        ),
        noise_floor=expm1(reach),
    )


def _squares(values: Sequence[int]) -> float:
    """Squared distances of the logarithms from their mean."""
    logs = [log(value) for value in values]
    mean = sum(logs) / len(logs)
    return sum((one - mean) ** 2 for one in logs)
