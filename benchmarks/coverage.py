"""Simulated runs in, how often their "95 %" intervals hold the truth out, before and after.

    python benchmarks/coverage.py --out docs/results/statistics              # 2,000 trials a cell
    python benchmarks/coverage.py --out /tmp/few --trials 100                # a look

`before` are the methods that layerscope used first: a studentised bootstrap of the ratio for error
rates, order statistics of independent samples for the median latency.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from layerscope.records.interval import Interval
from layerscope.stats.error_rate import error_rate_interval
from layerscope.stats.statistics import (
    StoppingRule,
    _order_interval,
    median_interval,
    ratio_interval,
)

ANSWERS = (8, 32, 128, 300)
RATES = (0.003, 0.03, 0.125, 0.5)
LENGTHS = (24, 48, 200)
CORRELATIONS = (0.0, 0.5, 0.7, 0.9)
# The bootstrap is slow; its coverage is not close to any limit.
_TRIALS_BEFORE = 40
_TRIALS_STOPPED = 150

Counts = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, float], tuple[Counts, Counts]]


@dataclass(frozen=True)
class World:
    """How answers go wrong.

    Attributes:
        draw: (generator, answers, rate) -> errors and words by answer.
        truth: rate -> the true corpus WER.
        samples: whether "words" or "answers" err independently of each other, where either does.
    """

    name: str
    draw: Draw
    truth: Callable[[float], float]
    samples: str = ""


def _words(generator: np.random.Generator, answers: int, most: int) -> Counts:
    """1 to `most` words an answer; 5 in each where `most` is 5, 1 where it is 1."""
    if most in (1, 5):
        return np.full(answers, float(most))
    return generator.integers(1, most + 1, answers).astype(float)


def _alone(most: int) -> Draw:
    def draw(g: np.random.Generator, answers: int, rate: float) -> tuple[Counts, Counts]:
        words = _words(g, answers, most)
        return g.binomial(words.astype(int), rate).astype(float), words

    return draw


def _whole(most: int) -> Draw:
    def draw(g: np.random.Generator, answers: int, rate: float) -> tuple[Counts, Counts]:
        words = _words(g, answers, most)
        return words * (g.random(answers) < rate), words

    return draw


def _mixed(most: int) -> Draw:
    """Half of the rate by whole answers, half by single words of the others."""

    def draw(g: np.random.Generator, answers: int, rate: float) -> tuple[Counts, Counts]:
        words = _words(g, answers, most)
        single = g.binomial(words.astype(int), rate / 2).astype(float)
        return np.where(g.random(answers) < rate / 2, words, single), words

    return draw


def _rambling(most: int) -> Draw:
    """Single words wrong, and so many answers go on for a geometric number of words, 4 on average."""

    def draw(g: np.random.Generator, answers: int, rate: float) -> tuple[Counts, Counts]:
        errors, words = _alone(most)(g, answers, rate)
        return errors + (g.random(answers) < rate) * g.geometric(0.25, answers), words

    return draw


def _half(rate: float) -> float:
    return rate / 2 + (1 - rate / 2) * rate / 2


WORLDS = (
    World("one word", _alone(1), float, "words"),
    World("5 words, each on its own", _alone(5), float, "words"),
    World("5 words, whole answers", _whole(5), float, "answers"),
    World("1 to 12 words, each on its own", _alone(12), float, "words"),
    World("1 to 12 words, whole answers", _whole(12), float, "answers"),
    World("5 words, both ways", _mixed(5), _half),
    World("1 to 12 words, both ways", _mixed(12), _half),
    World("one word, insertions", _rambling(1), lambda rate: rate * (1 + 4)),
    World("5 words, insertions", _rambling(5), lambda rate: rate * (1 + 4 / 5)),
)


@cache
def _exact_width(found: int, of: int) -> float:
    """Width of Clopper and Pearson's interval."""
    ones = np.zeros(of)
    ones[:found] = 1
    interval = error_rate_interval(ones, np.ones(of))
    assert interval is not None
    return interval.high - interval.low


_known: dict[bytes, Interval] = {}


def _interval(errors: Counts, words: Counts) -> Interval:
    """Of the same answers in any order, made once."""
    key = np.sort(1000 * errors + words).tobytes()
    if key not in _known:
        found = error_rate_interval(errors, words)
        assert found is not None
        _known[key] = found
    return _known[key]


def error_rates(trials: int) -> Iterator[dict[str, Any]]:
    """One row per world, number of answers and rate."""
    for number, world in enumerate(WORLDS):
        for answers in ANSWERS:
            for rate in RATES:
                yield _error_rate(world, number, answers, rate, trials)


def _error_rate(
    world: World, number: int, answers: int, rate: float, trials: int
) -> dict[str, Any]:
    generator = np.random.default_rng([number, answers, round(1000 * rate)])
    truth = world.truth(rate)
    held = held_before = 0
    width = exact = 0.0
    before = min(trials, _TRIALS_BEFORE)
    for trial in range(trials):
        errors, words = world.draw(generator, answers, rate)
        now = _interval(errors, words)
        held += now.low <= truth <= now.high
        width += (now.high - now.low) / trials
        if world.samples == "words":
            exact += _exact_width(int(errors.sum()), int(words.sum())) / trials
        elif world.samples == "answers":
            exact += _exact_width(int((errors > 0).sum()), answers) / trials
        if trial < before:
            old = ratio_interval(errors, words)
            assert old is not None
            held_before += max(old.low, 0.0) - 1e-9 <= truth <= old.high
    return {
        "errors": world.name,
        "answers": answers,
        "rate": rate,
        "true_wer": truth,
        "coverage_before": held_before / before,
        "coverage": held / trials,
        "width": width,
        "width_over_exact": width / exact if exact else None,
        "trials": trials,
    }


def latencies(trials: int) -> Iterator[dict[str, Any]]:
    """One row per correlation of neighbours and number of batches, or the rule that sets it."""
    for correlation in CORRELATIONS:
        for batches in LENGTHS:
            yield _latency(correlation, batches, trials)
        for noise in (0.03, 0.1):
            yield _stopped(correlation, noise, min(trials, _TRIALS_STOPPED))


def _latency(correlation: float, batches: int, trials: int) -> dict[str, Any]:
    generator = np.random.default_rng([batches, round(10 * correlation)])
    held = held_before = 0
    wider = 0.0
    for _ in range(trials):
        samples = np.exp(0.05 * alike(generator, batches, correlation))
        now = median_interval(samples)
        assert now is not None
        low, high = _order_interval(np.sort(samples))
        held += now.low <= 1 <= now.high
        held_before += low <= 1 <= high
        wider += (now.high - now.low) / (high - low) / trials
    return {
        "correlation": correlation,
        "batches": str(batches),
        "noise": 0.05,
        "coverage_before": held_before / trials,
        "coverage": held / trials,
        "width_over_before": wider,
        "trials": trials,
    }


def _stopped(correlation: float, noise: float, trials: int) -> dict[str, Any]:
    """Runs that end when the rule says so; `before` ended at the first narrow independent one."""
    generator = np.random.default_rng([round(100 * noise), round(10 * correlation)])
    rule = StoppingRule()
    held = held_before = 0
    taken = []
    for _ in range(trials):
        samples = np.exp(noise * alike(generator, rule.limit_samples, correlation))
        count = rule.minimum
        while rule.reason_to_stop(samples[:count].tolist(), 0.0) is None:
            count += rule.step
        now = median_interval(samples[:count])
        assert now is not None
        held += now.low <= 1 <= now.high
        taken.append(count)
        low, high = _stopped_before(samples)
        held_before += low <= 1 <= high
    return {
        "correlation": correlation,
        "batches": f"by the rule, {np.median(taken):.0f} (median)",
        "noise": noise,
        "coverage_before": held_before / trials,
        "coverage": held / trials,
        "width_over_before": None,
        "trials": trials,
    }


def _stopped_before(samples: Counts) -> tuple[float, float]:
    for count in range(8, len(samples) + 1, 8):
        taken = np.sort(samples[:count])
        low, high = _order_interval(taken)
        if (high - low) / 2 / float(np.median(taken)) < 0.05:
            break
    return low, high


def alike(generator: np.random.Generator, count: int, correlation: float) -> Counts:
    """A stationary first-order autoregressive series of median 0 and variance 1."""
    noise = generator.standard_normal(count)
    noise[1:] *= (1 - correlation**2) ** 0.5
    for i in range(1, count):
        noise[i] += correlation * noise[i - 1]
    return noise


@click.command(help=__doc__)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for the tables."
)
@click.option("--trials", type=click.IntRange(min=10), default=2000, show_default=True)
@click.option("--only", type=click.Choice(["latency", "wer"]), help="One of the two tables.")
def main(out: Path, trials: int, only: str | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if only != "wer":
        _write(out / "latency_coverage.csv", latencies(trials))
    if only != "latency":
        _write(out / "wer_coverage.csv", error_rates(trials))


def _write(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = None
        for row in rows:
            shown = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()}
            if writer is None:
                writer = csv.DictWriter(file, list(shown), lineterminator="\n")
                writer.writeheader()
            writer.writerow(shown)
            file.flush()
            click.echo("  ".join(f"{value}" for value in shown.values()))


if __name__ == "__main__":
    main()
