"""`layerscope compare`: two saved runs or traces, what differs and whether it is more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from layerscope.cli.verb import verb

if TYPE_CHECKING:
    from layerscope.differences import Subject
    from layerscope.findings import Evidence
    from layerscope.records.comparison import Comparison, Outcome

_TOP = 15
Form = Literal["screen", "markdown", "json"]


@verb(
    "compare",
    "layerscope compare traces/BEFORE traces/AFTER --fail-on 'latency>5%'",
)
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path))
@click.option("--anyway", is_flag=True, help="Compare although the environments are unlike.")
@click.option(
    "--fail-on",
    "fail_on",
    multiple=True,
    metavar="EXPR",
    help="METRIC OP VALUE[%], e.g. 'latency>5%'; repeatable. Only a difference that is shown "
    "(interval excludes 0, above the noise floor) fails. Metrics: latency, ttft, energy, wer, flops, "
    "device, host.",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=_TOP, help="Kinds of layers shown. Default: 15."
)
@click.option(
    "--per-block", is_flag=True, help="Each layer by itself instead of equal blocks as one."
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown instead.")
def command(
    base: Path,
    other: Path,
    anyway: bool,
    fail_on: tuple[str, ...],
    top: int,
    per_block: bool,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Compare OTHER with BASE: two run folders, or two traces that torch.profiler exported.

    A change is other minus base. Ends with 3 where the environments are unlike, 4 where a side
    cannot be read or lacks what --fail-on asks for, 5 where the layers' differences do not sum to
    the difference of the wholes, 6 where a --fail-on limit is crossed.
    """
    from layerscope.core.errors import UsageError
    from layerscope.differences import compare, judge, parse_condition

    if as_json and as_markdown:
        raise UsageError("--json and --markdown: choose one.")
    conditions = [parse_condition(text) for text in fail_on]
    (one, ground), (two, changed) = _read(base), _read(other)
    comparison = compare(one, two)
    if not anyway:
        _refuse_unlike(comparison)
    outcomes = [judge(condition, comparison) for condition in conditions]
    form: Form = "json" if as_json else "markdown" if as_markdown else "screen"
    _show(comparison, outcomes, form, top=top, per_block=per_block)
    if form == "screen":
        _show_scaling(ground, changed)
    _conclude(comparison, outcomes)


def _show_scaling(base: Evidence | None, other: Evidence | None) -> None:
    """Between two batch sizes: how each group's time follows the batch."""
    from rich.console import Console

    from layerscope.findings import scaling_finding, scaling_of
    from layerscope.report.findings import render_findings

    traced = [e.record.trace for e in (base, other) if e is not None and e.record is not None]
    if base is None or other is None or None in traced:
        return
    sizes = {trace.size for trace in traced if trace is not None}
    if len(sizes) == 2:
        render_findings([scaling_finding(scaling_of(base, other))], (), Console())


def _read(path: Path) -> tuple[Subject, Evidence | None]:
    """A run's record and layer table, or a bare trace's table; and what findings rest on."""
    from layerscope.findings import Evidence
    from layerscope.runs.diff import subject_of
    from layerscope.runs.run import Run

    run = Run.open(path)
    subject = subject_of(run, str(path))
    if subject.record is None or subject.table is None:
        return subject, None
    return subject, Evidence(account=run.account, record=subject.record)


def _refuse_unlike(comparison: Comparison) -> None:
    from layerscope.core.errors import EnvironmentProblem
    from layerscope.differences import unlike_environments

    unlike = unlike_environments(comparison.differences)
    if unlike:
        named = "; ".join(f"{item.name}: {item.base} and {item.other}" for item in unlike)
        raise EnvironmentProblem(
            f"the two runs' environments are unlike ({named}). Compare runs of one machine and one "
            "set of versions, or add --anyway to see the numbers all the same."
        )


def _show(
    comparison: Comparison,
    outcomes: Sequence[Outcome],
    form: Form,
    *,
    top: int,
    per_block: bool,
) -> None:
    from rich.console import Console

    from layerscope.report.compare import comparison_json, comparison_markdown, render_comparison

    if form == "json":
        click.echo(comparison_json(comparison, outcomes))
    elif form == "markdown":
        text = comparison_markdown(comparison, outcomes, top=top, per_block=per_block)
        click.echo(text, nl=False)
    else:
        render_comparison(comparison, outcomes, Console(), top=top, per_block=per_block)


def _conclude(comparison: Comparison, outcomes: Sequence[Outcome]) -> None:
    """Turn what was shown into an exit code; the gravest first."""
    from layerscope.core.errors import AccountingError, ComparisonFailed, DataError

    layers = comparison.layers
    if layers is not None and layers.unexplained_ns:
        raise AccountingError(
            "the layers' differences do not sum to the difference of the wholes: off by "
            f"{layers.unexplained_ns} ns."
        )
    crossed = [outcome.sentence for outcome in outcomes if outcome.crossed]
    if crossed:
        raise ComparisonFailed(f"--fail-on {'; '.join(crossed)}.")
    unjudged = [outcome.sentence for outcome in outcomes if not outcome.judged]
    if unjudged:
        # Silence would let a gate pass because nothing was measured.
        raise DataError(f"--fail-on {'; '.join(unjudged)}.")
