"""`--fail-on` expressions in, conditions out; and conditions with a comparison in, outcomes out.

An expression is METRIC OP VALUE, with a per cent sign after a value that is a share of the base:
`latency>5%`, `energy >= 0.5`, `wer>0.01`. It is read by hand; nothing in it is ever evaluated.
"""

from __future__ import annotations

import re
from math import inf

from layerscope.core.errors import UsageError
from layerscope.core.words import did_you_mean
from layerscope.records.comparison import (
    METRICS,
    OPERATORS,
    Comparison,
    Condition,
    MetricChange,
    Outcome,
)

_FORM = re.compile(
    r"\s*([A-Za-z_]+)\s*(>=|<=|>|<)\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*(%?)\s*", re.ASCII
)
_EXAMPLE = "write for example 'latency>5%' or 'wer>0.01'"


def parse_condition(text: str) -> Condition:
    """Read one expression.

    Raises:
        UsageError: it is not of the form METRIC OP VALUE[%], or the metric is not known.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise UsageError(
            f"--fail-on {text!r}: not METRIC OP VALUE[%] with >, >=, < or <=; {_EXAMPLE}."
        )
    name, operator, number, percent = form.groups()
    metric = next((known for known in METRICS if known == name), None)
    if metric is None:
        hint = did_you_mean(name, METRICS, quote="")
        near = f" {hint}" if hint else ""
        raise UsageError(
            f"--fail-on {text!r}: no metric {name!r};{near} choose from {', '.join(METRICS)}."
        )
    return Condition(
        text=text.strip(),
        metric=metric,
        operator=next(known for known in OPERATORS if known == operator),
        value=float(number) / (100 if percent else 1),
        relative=bool(percent),
    )


def judge(condition: Condition, comparison: Comparison) -> Outcome:
    """Whether the change of the condition's metric is shown and crosses its limit."""
    metric = comparison.metric(condition.metric)
    if metric is None:
        return _unjudged(condition, comparison.metrics_absent)
    if metric.absent:
        return _unjudged(condition, metric.absent)
    change = _relative(metric) if condition.relative else (metric.change or 0.0)
    amount = f"{100 * change:+.2f} %" if condition.relative else f"{change:+.4g} {metric.unit}"
    crossed = metric.shown and _holds(change, condition)
    if crossed:
        said = f"{condition.metric} changed by {amount.strip()}: {metric.verdict}"
    elif not metric.shown:
        said = f"not crossed: {metric.verdict}"
    else:
        said = f"not crossed: {condition.metric} changed by {amount.strip()}"
    return Outcome(
        condition=condition,
        crossed=crossed,
        judged=True,
        sentence=f"'{condition.text}': {said}",
    )


def _unjudged(condition: Condition, why: str) -> Outcome:
    return Outcome(
        condition=condition,
        crossed=False,
        judged=False,
        sentence=f"'{condition.text}': cannot be judged: {why}",
    )


def _relative(metric: MetricChange) -> float:
    """Change over base; from a base of 0 any change is infinitely large."""
    if metric.relative is not None:
        return metric.relative
    change = metric.change or 0.0
    return inf if change > 0 else -inf if change < 0 else 0.0


def _holds(change: float, condition: Condition) -> bool:
    limit = condition.value
    return {
        ">": change > limit,
        ">=": change >= limit,
        "<": change < limit,
        "<=": change <= limit,
    }[condition.operator]
