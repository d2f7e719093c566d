"""`layerscope compare`: two saved runs or traces, what differs and whether it is more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from layerscope.analysis.compare import Subject
    from layerscope.records import LayerTable, RunRecord
    from layerscope.records.comparison import Comparison, Outcome

_TOP = 15
_LAYERS_FILE = "layers.csv"


@click.command("compare")
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
@click.option("--top", type=click.IntRange(min=1), default=_TOP, help="Layers shown. Default: 15.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown instead.")
def command(
    base: Path,
    other: Path,
    anyway: bool,
    fail_on: tuple[str, ...],
    top: int,
    as_json: bool,
    as_markdown: bool,
) -> None:
    """Compare OTHER with BASE: two run folders, or two traces that torch.profiler exported.

    A change is other minus base. Ends with 3 where the environments are unlike, 4 where a side
    cannot be read or lacks what --fail-on asks for, 5 where the layers' differences do not sum to
    the difference of the wholes, 6 where a --fail-on limit is crossed.
    """
    from layerscope.analysis.compare import compare, judge, parse_condition
    from layerscope.errors import UsageError

    if as_json and as_markdown:
        raise UsageError("--json and --markdown: choose one.")
    conditions = [parse_condition(text) for text in fail_on]
    sides = _read(base), _read(other)
    comparison = compare(*sides)
    if not anyway:
        _refuse_unlike(comparison)
    outcomes = [judge(condition, comparison) for condition in conditions]
    _show(comparison, outcomes, top=top, as_json=as_json, as_markdown=as_markdown)
    _conclude(comparison, outcomes)


def _read(path: Path) -> Subject:
    """A run folder's record and layer table, or a bare trace's table."""
    from layerscope.analysis.compare import Subject
    from layerscope.records import load
    from layerscope.records.run_record import RUN_FILE
    from layerscope.run.tables import TRACE_FILE, read_account

    if not path.is_dir() or not (path / RUN_FILE).exists():
        return Subject(name=str(path), table=read_account(path).table)
    record = load(path)
    if (path / TRACE_FILE).exists():
        return Subject(name=str(path), record=record, table=read_account(path).table)
    table = _saved_table(path, record)
    absent = "" if table else f"neither {TRACE_FILE} nor {_LAYERS_FILE} in it"
    return Subject(name=str(path), record=record, table=table, table_absent=absent)


def _saved_table(folder: Path, record: RunRecord) -> LayerTable | None:
    """The table as the run wrote it, where its large trace was thrown away; None without one."""
    from layerscope.records import LayerTable, Whole
    from layerscope.report.csv import read_layers_csv

    saved = record.account
    if saved is None or record.trace is None or not (folder / _LAYERS_FILE).exists():
        return None
    return LayerTable(
        rows=read_layers_csv(folder / _LAYERS_FILE),
        root=record.trace.root,
        whole=Whole(
            device_events=saved.events,
            device_sum_ns=_ns(saved.device_sum_us),
            device_active_ns=_ns(saved.device_active_us),
            window_span_ns=_ns(saved.window_span_us),
            host_window_ns=_ns(saved.host_window_us),
        ),
    )


def _ns(us: float | None) -> int | None:
    """`run.json` holds microseconds rounded to a nanosecond."""
    return None if us is None else round(us * 1000)


def _refuse_unlike(comparison: Comparison) -> None:
    from layerscope.analysis.compare import unlike_environments
    from layerscope.errors import EnvironmentProblem

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
    *,
    top: int,
    as_json: bool,
    as_markdown: bool,
) -> None:
    from rich.console import Console

    from layerscope.report.compare import comparison_json, comparison_markdown, render_comparison

    if as_json:
        click.echo(comparison_json(comparison, outcomes))
    elif as_markdown:
        click.echo(comparison_markdown(comparison, outcomes, top=top), nl=False)
    else:
        render_comparison(comparison, outcomes, Console(), top=top)


def _conclude(comparison: Comparison, outcomes: Sequence[Outcome]) -> None:
    """Turn what was shown into an exit code; the gravest first."""
    from layerscope.errors import AccountingError, ComparisonFailed, DataError

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
