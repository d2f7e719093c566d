"""Scores of a file of answers in, the screen of `layerscope score` or its JSON out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from layerscope.core.files import json_text
from layerscope.records.interval import Interval
from layerscope.records.quality import Quality
from layerscope.report.page import Grid, Page

# Of the JSON. 1 (2026-11): first version.
SCORES_SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One score with its interval; `reason` says why it is absent, or what it leaves out."""

    name: str
    value: float | None
    interval: Interval | None
    reason: str | None = None


def scores_of(quality: Quality, others: Mapping[str, Quality]) -> tuple[Score, ...]:
    """Every score, the word error rates first.

    Args:
        others: the same answers scored under the other normalisations, by their names.
    """
    q = quality
    return (
        Score(name="wer", value=q.wer_value, interval=q.wer_interval, reason=q.reason),
        Score(name="wer_best", value=q.wer_best, interval=q.wer_best_interval, reason=q.reason),
        Score(name="wer_mean", value=q.wer_mean, interval=q.wer_mean_interval, reason=q.reason),
        *(
            Score(
                name=f"wer_{name.replace('-', '_')}",
                value=other.wer_value,
                interval=other.wer_interval,
                reason=other.reason,
            )
            for name, other in others.items()
        ),
        Score(name="exact_match", value=q.exact_match, interval=q.exact_interval),
        *(
            Score(
                name=f"{name}_accuracy",
                value=getattr(q, f"{name}_accuracy"),
                interval=getattr(q, f"{name}_interval"),
                reason=getattr(q, f"{name}_reason"),
            )
            for name in ("vqa", "textvqa", "scienceqa")
        ),
    )


def render_scores(quality: Quality, scores: tuple[Score, ...], source: str, to: Console) -> None:
    """Print how many answers there are, then a table of the scores with their 95 % intervals."""
    page = Page(to)
    page.field("answers", f"{quality.samples} of {source}; normalisation {quality.normalisation}")
    page.field(
        "words",
        f"{quality.reference_words} of the first references; {quality.substitutions} substituted, "
        f"{quality.deletions} deleted, {quality.insertions} inserted",
    )
    page.field(
        "empty", f"{quality.empty_predictions} predictions, {quality.empty_references} references"
    )
    page.grid(
        Grid(
            title="scores",
            header=("score", "value", "95 % interval", "note"),
            rows=tuple(_row(score) for score in scores),
            text=frozenset({"95 % interval", "note"}),
        )
    )


def _row(score: Score) -> tuple[str, str, str, str]:
    value = "absent" if score.value is None else f"{score.value:.4f}"
    between = ""
    if score.interval is not None and score.value is not None:
        between = f"[{score.interval.low:.4f}, {score.interval.high:.4f}]"
    elif score.value is not None:
        between = "one answer has none"
    return score.name, value, between, score.reason or ""


def scores_json(quality: Quality, scores: tuple[Score, ...], source: str) -> str:
    """The same for programs. Keys are stable; null is a score or an interval that is absent."""
    found: dict[str, Any] = {
        "schema_version": SCORES_SCHEMA,
        "file": source,
        "answers": quality.samples,
        "normalisation": quality.normalisation,
        "reference_words": quality.reference_words,
        "substitutions": quality.substitutions,
        "deletions": quality.deletions,
        "insertions": quality.insertions,
        "empty_predictions": quality.empty_predictions,
        "empty_references": quality.empty_references,
        "scores": {
            score.name: {
                "value": score.value,
                "low": getattr(score.interval, "low", None),
                "high": getattr(score.interval, "high", None),
                "confidence": getattr(score.interval, "confidence", None),
                "method": getattr(score.interval, "method", None),
                "reason": score.reason,
            }
            for score in scores
        },
    }
    return json_text(found)
