"""Intervals of error rates and of scores: counts by answer in, a 95 % interval out.

The interval is Clopper and Pearson's (1934) on the effective number of words, as Korn and Graubard
(1998, Survey Methodology 24) use it for shares with few positive counts in clustered samples. The
clusters are the answers: words of one answer go wrong together, so 100 words in 10 answers may be
worth 100 samples or 10. The design effect says which:

    effect = variance of the rate over answers / variance if each word erred on its own

Clopper and Pearson's upper end is what the sample would say with one more error. Here it is one more
wrong answer, with as many errors as the worst of those seen: how Fay and Feuer (1997, Statistics in
Medicine 16) bound rates of events that come with unlike weights. So a rare answer that goes wrong as a
whole among many single slips is not forgotten. With one-word answers the design effect and that answer
count 1, and the interval is exactly Clopper and Pearson's.

Few wrong answers say little of either, and none say nothing: then a whole answer counts as one
sample, the worst that words of one answer can do to each other. `_PRIOR` wrong answers' worth of that
belief is mixed in, in logarithms, so it fades as wrong answers are seen.

A rate of errors has no upper bound where an answer has more errors than words (insertions). There
the binomial becomes Poisson's law, its limit for many rare events.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from layerscope.records.interval import Interval
from layerscope.stats.beta import beta_quantile
from layerscope.stats.student import t_975

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2
_LEAST_ANSWERS = 2
_PRIOR = 1.0
# Errors per word that a rate without a bound is a share of: so many that the law is Poisson's.
_UNBOUNDED = 1e6

Floats = NDArray[np.float64]


def error_rate_interval(
    errors: Sequence[float] | Floats, words: Sequence[float] | Floats
) -> Interval | None:
    """95 % interval of sum(errors) / sum(words), answers being the sampled units.

    Args:
        errors: of each answer: substitutions, deletions and insertions. Shape (answers,).
        words: of each answer's reference. Shape (answers,).

    Returns:
        None below two answers, or where there is no reference word.

    Raises:
        ValueError: the lengths differ, or a count is negative.
    """
    wrong, of = np.asarray(errors, dtype=np.float64), np.asarray(words, dtype=np.float64)
    if wrong.shape != of.shape or (len(wrong) and min(wrong.min(), of.min()) < 0):
        raise ValueError("errors and words are counts of the same answers, none of them negative")
    counted = (wrong > 0) | (of > 0)  # an empty answer to an empty reference says nothing
    wrong, of = wrong[counted], of[counted]
    total = float(of.sum())
    if len(of) < _LEAST_ANSWERS or total <= 0:
        return None
    bound = _UNBOUNDED if (wrong > of).any() else 1.0
    found = float(wrong.sum())
    effect, more = _clustering(wrong, of, bound)
    beyond = (found * effect + more**2) / (found + more)
    left = bound * total - found
    low = beta_quantile(_TAIL, found / effect, left / effect + 1) if found else 0.0
    high = beta_quantile(1 - _TAIL, (found + more) / beyond, left / beyond) if left > 0 else 1.0
    method = "Clopper-Pearson" if bound == 1 else "exact Poisson"
    return Interval(
        low=low * bound,
        high=high * bound,
        method=f"{method} on the effective number of words, {total / effect:,.1f} of {total:,.0f}",
    )


def score_interval(scores: Sequence[float] | Floats) -> Interval | None:
    """95 % interval of the mean of scores between 0 and 1, one an answer; None below two.

    No law on [0, 1] scatters more than that of right and wrong with the same mean, so the interval
    of a share holds for partial scores, too.

    Raises:
        ValueError: a score is not between 0 and 1.
    """
    values = np.asarray(scores, dtype=np.float64)
    if len(values) and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError("scores lie between 0 and 1")
    if len(values) < _LEAST_ANSWERS:
        return None
    right, n = float(values.sum()), float(len(values))
    low = beta_quantile(_TAIL, right, n - right + 1) if right > 0 else 0.0
    high = beta_quantile(1 - _TAIL, right + 1, n - right) if right < n else 1.0
    return Interval(low=low, high=high, method="Clopper-Pearson")


def _clustering(wrong: Floats, of: Floats, bound: float) -> tuple[float, float]:
    """How errors come together: the design effect, and the errors of the worst answer.

    Both at least 1, and as seen only so far as wrong answers show it.
    """
    total = float(of.sum())
    rate = float(wrong.sum()) / total
    whole = max(float((of**2).sum()) / total, 1.0)  # if all words of an answer err together
    right = 1 - rate / bound
    alone = rate * right * total  # variance of the errors if each word erred on its own
    if alone <= 1e-9 * total:
        return whole, whole
    residual = (wrong - rate * of) * _unequal(of)
    effect = max(float(residual @ residual) / alone, 1.0)
    worst = max(float(residual.max()) / right, 1.0)
    telling = int((wrong > 0).sum())
    if bound == 1:  # near a rate of 1 the rare ones are answers with a word right
        telling = min(telling, int((wrong < of).sum()))
    seen = telling / (telling + _PRIOR)
    unseen = (1 - seen) * log(whole)
    return exp(seen * log(effect) + unseen), exp(seen * log(worst) + unseen)


def _unequal(of: Floats) -> Floats:
    """What answers of unlike length add to their residuals; 1 where all are of one length.

    A long answer pulls the rate towards itself, so its residual falls short: the jackknife's factor.
    And n unequal answers are worth fewer equal ones (Kish 1965), whose Student's t is wider. Both are
    over their values for equal lengths, for which Clopper and Pearson's interval is exact already.
    """
    n, total = len(of), float(of.sum())
    equal = total**2 / float((of**2).sum())
    pulled = np.maximum((1 - 1 / n) / np.maximum(1 - of / total, 1 / n), 1.0)
    fewer = t_975(max(round(equal) - 1, 1)) / t_975(n - 1)
    factor: Floats = pulled * fewer
    return factor
