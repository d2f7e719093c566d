"""The samples of two runs in, one effect out with its interval and the floor noise sets under it.

Two runs of the same thing never give the same number. What is known about the noise is only what
each run's own repeats show, and they are few and not independent: a shared host slows ten batches in
a row, clocks sink while the device heats. So an effect has to pass two tests that fail differently.

**The interval** is a circular block bootstrap of the ratio of the medians (Politis and Romano 1992).
Stretches of neighbouring samples are drawn, not single ones, so that samples which are slow together
stay together. It is taken at 99 %, not 95 %: one comparison gives several verdicts, and a tool that
cries wolf once in twenty is soon ignored.

**The noise floor** treats a run as four short runs: its samples in four stretches, in the order they
were taken. The spread between the four medians is how far apart repeats of that length stood, drift
included: a run that slows by D from start to end has a spread of about D / 3. The floor is 3.707
times the root sum of squares of the two runs' spreads (Student's t, 99 %, the 3 + 3 degrees of
freedom behind the two spreads), and never below 3 %. The spread is deliberately not divided by the
square root of four. That would hold if stretches were independent, and a slow disturbance makes them
so alike that the mean of four is worth little more than one; with independent noise the floor is
twice as high as it had to be, which costs sight of small effects and no false alarm. Where neighbours
are visibly alike, the stretches are too and their spread falls short: the floor then grows by
sqrt((1 + r) / (1 - r)), r being the correlation of neighbours (what a mean's error grows by in a
first-order autoregressive process), twofold at most. 3 % is kept
because two loads of the same model differ by memory layout and clocks by a per cent or two though
each run is quiet in itself.

What no formula here can see is a change of the host between the two runs: it leaves each run quiet.
A disturbance that lasts longer than a run is such a change. docs/compare.md has the rates of false
alarms for disturbances of every length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, expm1, log, sqrt

import numpy as np
from numpy.typing import NDArray

from layerscope.records.interval import Interval

CONFIDENCE = 0.99
RESAMPLES = 2000
LEAST_FLOOR = 0.03
LEAST_SAMPLES = 5
_STRETCHES = 4
# Student's t, two-sided 99 %, 2 * (4 - 1) degrees of freedom.
_REACH = 3.707
_MOST_GROWTH = 2.0

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """A relative change, other over base minus 1, with its interval and its noise floor."""

    relative: float
    interval: Interval
    noise_floor: float

    @property
    def shown(self) -> bool:
        """Whether the interval excludes 0 and the change is above the floor."""
        return excludes_zero(self.interval) and abs(self.relative) > self.noise_floor


def excludes_zero(interval: Interval) -> bool:
    """Whether the interval lies on one side of 0."""
    return interval.low > 0 or interval.high < 0


def effect_of(
    base: Sequence[float] | Floats, other: Sequence[float] | Floats, *, least_floor: float = 0.0
) -> Effect | None:
    """The change of the median from `base` to `other`, positive samples in the order taken.

    Args:
        least_floor: what the noise floor may not be below, besides 3 %.

    Returns:
        None where a side has fewer than five samples or one that is not positive.
    """
    logs = _logs(base), _logs(other)
    if logs[0] is None or logs[1] is None:
        return None
    return effect_of_logs(logs[0], logs[1], least_floor=least_floor)


def effect_of_logs(base: Floats, other: Floats, *, least_floor: float = 0.0) -> Effect:
    """`effect_of` for logarithms of the samples."""
    shift = float(np.median(other) - np.median(base))
    generator = np.random.default_rng(0)
    drawn = _block_medians(other, generator) - _block_medians(base, generator)
    spread = sqrt(_spread(base) ** 2 + _spread(other) ** 2) * _growth(base, other)
    return Effect(
        relative=expm1(shift),
        interval=_percentiles(drawn, "circular block bootstrap of the ratio of medians"),
        noise_floor=max(LEAST_FLOOR, least_floor, expm1(_REACH * spread)),
    )


def effect_of_single(
    base: float, other: float, base_repeats: Floats, other_repeats: Floats
) -> Effect | None:
    """The change between two numbers measured once each, judged by the noise of single repeats.

    Args:
        base_repeats, other_repeats: logarithms of samples that show how far a single repeat of that
            run lies from its median.
    """
    if min(base, other) <= 0 or min(len(base_repeats), len(other_repeats)) < LEAST_SAMPLES:
        return None
    shift = log(other / base)
    generator = np.random.default_rng(0)
    noise = [
        generator.choice(values - np.median(values), RESAMPLES)
        for values in (base_repeats, other_repeats)
    ]
    spread = sqrt(float(base_repeats.var(ddof=1)) + float(other_repeats.var(ddof=1)))
    return Effect(
        relative=expm1(shift),
        interval=_percentiles(
            shift + noise[1] - noise[0],
            "bootstrap of single batches, their noise as the latency samples show it",
        ),
        noise_floor=max(LEAST_FLOOR, expm1(_REACH * spread)),
    )


def paired_logs(
    base: Sequence[tuple[int, float]], other: Sequence[tuple[int, float]]
) -> tuple[Floats, Floats]:
    """Logarithms of (batch, sample) pairs without what is due to the batches' contents.

    Both runs ran the same batches, some of which take longer than others in either run. A batch's
    own share is the mean over the two runs of how far it lies from that run's level; it is taken
    from both alike, so the difference of the runs stays. Samples that the shares were fitted to lie
    too close to them: N samples and B batches leave N - B degrees of freedom, so the distances from
    the median grow by sqrt(N / (N - B)).

    Raises:
        ValueError: the two runs did not run the same batches.
    """
    sides = [
        (np.array([b for b, _ in side]), np.log([value for _, value in side]))
        for side in (base, other)
    ]
    batches = np.unique(sides[0][0])
    if not np.array_equal(batches, np.unique(sides[1][0])):
        raise ValueError("the runs did not run the same batches")
    share = np.zeros(len(batches))
    for numbers, logs in sides:
        levels = np.array([np.median(logs[numbers == batch]) for batch in batches])
        share += (levels - levels.mean()) / 2
    count = len(base) + len(other)
    grow = sqrt(count / (count - len(batches)))
    found = []
    for numbers, logs in sides:
        rest = logs - share[np.searchsorted(batches, numbers)]
        found.append(np.median(rest) + grow * (rest - np.median(rest)))
    return found[0], found[1]


def _logs(samples: Sequence[float] | Floats) -> Floats | None:
    values = np.asarray(samples, dtype=np.float64)
    if len(values) < LEAST_SAMPLES or values.min() <= 0:
        return None
    return np.log(values)


def _spread(logs: Floats) -> float:
    """Standard deviation of the medians of four stretches, in the order taken."""
    medians = [float(np.median(part)) for part in np.array_split(logs, _STRETCHES)]
    return float(np.std(medians, ddof=1))


def _growth(base: Floats, other: Floats) -> float:
    """How much a level's error grows because neighbours are alike; 1 where they are not.

    The correlation of neighbours is 1 - d / 2, d being von Neumann's ratio over both runs.
    """
    steps = around = 0.0
    for logs in (base, other):
        n = len(logs)
        steps += float(np.square(np.diff(logs)).sum())
        around += float(np.square(logs - logs.mean()).sum()) * (n - 1) / n
    if around <= 0:
        return 1.0
    alike = min(max(1 - steps / (2 * around), 0.0), 0.95)
    return min(sqrt((1 + alike) / (1 - alike)), _MOST_GROWTH)


def _block_medians(logs: Floats, generator: np.random.Generator) -> Floats:
    """Medians of `RESAMPLES` resamples made of stretches of sqrt(n) neighbours, end joined to start."""
    n = len(logs)
    length = ceil(sqrt(n))
    starts = generator.integers(0, n, (RESAMPLES, ceil(n / length), 1))
    places = ((starts + np.arange(length)) % n).reshape(RESAMPLES, -1)[:, :n]
    medians: Floats = np.median(logs[places], axis=1)
    return medians


def _percentiles(shifts: Floats, method: str) -> Interval:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = (float(value) for value in np.percentile(shifts, [tail, 100 - tail]))
    return Interval(
        low=exp(low) - 1,
        high=exp(high) - 1,
        method=f"{method}, {RESAMPLES:,} resamples, seed 0",
        confidence=CONFIDENCE,
    )
