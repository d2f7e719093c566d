"""`layerscope layers`: the account of a saved run or of any Kineto trace, without torch."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("layers")
@click.argument("run_or_trace", type=click.Path(path_type=Path))
@click.option("--phase", help="Only this phase: vision, encoder, prefill, decode, …")
@click.option("--group", is_flag=True, help="Sums by group instead of layers.")
@click.option("--depth", type=click.IntRange(min=0), help="Only layers this far below the root.")
@click.option("--sort", help="A column of layers.csv; largest first. Default: self time.")
@click.option("--top", type=click.IntRange(min=1), help="At most this many rows.")
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path), help="Also write layers.csv here."
)
def command(
    run_or_trace: Path,
    phase: str | None,
    group: bool,
    depth: int | None,
    sort: str | None,
    top: int | None,
    csv_file: Path | None,
) -> None:
    """Account for RUN_OR_TRACE: a run folder, or a trace that torch.profiler exported.

    Everything is computed from the saved files. Ends with exit code 5 if it does not add up.
    """
    from rich.console import Console

    from layerscope.report.console import render_account
    from layerscope.report.csv import write_layers_csv
    from layerscope.run.tables import read_account

    account = read_account(run_or_trace)
    if csv_file is not None:
        write_layers_csv(account.table, csv_file)
    render_account(account, Console(), phase=phase, group=group, depth=depth, sort=sort, top=top)
    account.table.check()
