"""`--fail-on` expressions in, conditions out; and conditions with a comparison in, outcomes out.

An expression is METRIC OP VALUE, with a per cent sign after a value that is a share of the base:
`latency>5%`, `energy >= 0.5`, `wer>0.01`. The language is that of `layerscope.core.rules`; an expression
is a rule of one comparison, because each limit has a verdict of its own.
"""

from __future__ import annotations

import re
from math import inf

from layerscope.core.errors import UsageError
from layerscope.core.rules import SIGNS, parse_rule
from layerscope.core.words import did_you_mean
from layerscope.records.comparison import (
    METRICS,
    OPERATORS,
    Comparison,
    Condition,
    MetricChange,
    Outcome,
)

# A limit is written out: no exponent, no infinity.
_LIMIT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)\s*%?", re.ASCII)
_FORM = "not METRIC OP VALUE[%] with >, >=, < or <="
_EXAMPLE = "write for example 'latency>5%' or 'wer>0.01'"


def parse_condition(text: str) -> Condition:
    """Read one expression.

    Raises:
        UsageError: it is not of the form METRIC OP VALUE[%], or the metric is not known.
    """

    def refuse(what: str) -> UsageError:
        return UsageError(f"--fail-on {text!r}: {_FORM} ({what.rstrip('.')}); {_EXAMPLE}.")

    found = parse_rule(text, example="latency>5%", refuse=refuse).comparisons
    if len(found) > 1:
        raise UsageError(
            f"--fail-on {text!r}: {_FORM}, but {len(found)}; give --fail-on once for each: one limit "
            "that is crossed is enough to fail."
        )
    (limit,) = found
    operator = next((known for known in OPERATORS if known == limit.sign), None)
    if operator is None:
        raise refuse(f"{limit.sign} is not one of them")
    if limit.value.number is None or not _LIMIT.fullmatch(limit.value.text):
        raise refuse(f"{limit.value} is no number")
    name = limit.name
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
        operator=operator,
        value=limit.value.number / (100 if limit.value.is_percent else 1),
        relative=limit.value.is_percent,
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
    crossed = metric.shown and SIGNS[condition.operator](change, condition.value)
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
