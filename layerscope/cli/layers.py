"""`layerscope layers`: the account of a saved run or of any Kineto trace, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from layerscope.cli.verb import under, verb

if TYPE_CHECKING:
    from layerscope.report.console import Form
    from layerscope.report.selection import Selection
    from layerscope.runs.run import Run


@verb(
    "layers",
    "layerscope layers traces/RUN --phase decode --top 10",
    "layerscope layers traces/RUN --tree --depth 4",
    "layerscope layers trace.json.gz --per-block --sort cpu_self_us",
)
@click.argument("run_or_trace", nargs=-1, required=True, type=click.Path(path_type=Path))
@under(
    "What is shown",
    click.option("--phase", help="Only this phase: vision, encoder, prefill, decode, …"),
    click.option(
        "--depth", type=click.IntRange(min=0), help="Only layers this far below the root."
    ),
    click.option("--top", type=click.IntRange(min=1), help="At most this many rows."),
    click.option("--sort", help="A column of layers.csv; largest first. Default: self time."),
    click.option("--device", help="Only the events of this device: 0, 1, …"),
)
@under(
    "How it is shown",
    click.option(
        "--per-block", is_flag=True, help="Each layer by itself instead of equal blocks as one."
    ),
    click.option("--tree", is_flag=True, help="As a tree, with what each branch takes in all."),
    click.option("--group", is_flag=True, help="Sums by group instead of layers."),
    click.option(
        "--csv", "csv_file", type=click.Path(path_type=Path), help="Also write layers.csv here."
    ),
)
def command(
    run_or_trace: tuple[Path, ...],
    phase: str | None,
    group: bool,
    depth: int | None,
    sort: str | None,
    per_block: bool,
    tree: bool,
    top: int | None,
    device: str | None,
    csv_file: Path | None,
) -> None:
    """Account for RUN_OR_TRACE: a run folder, or a trace that torch.profiler exported.

    A trace may be plain, gzipped, or alone in a zip. Its layers are layerscope's ranges; without
    any, the modules that with_stack=True recorded; else your record_function ranges; else its
    operators. The first line printed says which.

    Several traces, or a folder of traces, are the ranks of one distributed run: each rank is shown,
    then the sum of all by layer.

    Everything is computed from the saved files. Ends with exit code 5 if it does not add up.
    """
    from layerscope.core.collector_pause import collector_at_rest
    from layerscope.core.errors import UsageError

    _numpy_without_threads()
    from layerscope.report.selection import Selection
    from layerscope.runs.run import Run

    shown = Selection(phase=phase, depth=depth, sort=sort, top=top, per_block=per_block)
    form: Form = "groups" if group else "tree" if tree else "layers"
    if group and (tree or per_block):
        raise UsageError("--group shows sums by group: leave out --tree and --per-block.")
    if tree and (sort is not None or top is not None):
        raise UsageError("--tree stands in the order of execution: leave out --sort and --top.")
    # Hundreds of thousands of objects that live until the end: the collector would only scan them.
    with collector_at_rest():
        _show(Run.open(run_or_trace, device), csv_file, shown, form)


def _numpy_without_threads() -> None:
    """Import numpy without the threads that OpenBLAS starts for matrices, of which there are none here.

    One a core, they spin while they wait for work: a tenth of a second of CPU on two cores.
    """
    import os
    import sys

    name = "OPENBLAS_NUM_THREADS"  # read once, when numpy is imported
    if "numpy" in sys.modules or name in os.environ:
        return
    os.environ[name] = "1"
    try:
        import numpy  # noqa: F401
    finally:
        del os.environ[name]


def _show(run: Run, csv_file: Path | None, shown: Selection, form: Form) -> None:
    from rich.console import Console

    from layerscope.core.errors import DataError
    from layerscope.report.console import render_account
    from layerscope.report.csv import write_layers_csv
    from layerscope.report.findings import render_findings

    account = run.account
    if not account.table.rows:
        raise DataError(
            f"{run.place.shown}: neither a device event nor a layer range in it, so there is no time "
            "to account for; give a run folder, or a torch.profiler trace of a device."
        )
    if csv_file is not None:
        write_layers_csv(account.table, csv_file)
    screen = Console()
    render_account(account, screen, shown, form=form, ranks=run.ranks, beside=run.beside_batch)
    findings = run.findings
    if findings is not None and not run.ranks:
        render_findings(findings.seen, findings.not_judged, screen)
    account.table.check()
