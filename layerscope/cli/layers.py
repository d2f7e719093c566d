"""`layerscope layers`: the account of a saved run or of any Kineto trace, without torch."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("layers")
@click.argument("run_or_trace", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--phase", help="Only this phase: vision, encoder, prefill, decode, …")
@click.option("--group", is_flag=True, help="Sums by group instead of layers.")
@click.option("--depth", type=click.IntRange(min=0), help="Only layers this far below the root.")
@click.option("--sort", help="A column of layers.csv; largest first. Default: self time.")
@click.option("--top", type=click.IntRange(min=1), help="At most this many rows.")
@click.option("--device", help="Only the events of this device: 0, 1, …")
@click.option(
    "--csv", "csv_file", type=click.Path(path_type=Path), help="Also write layers.csv here."
)
def command(
    run_or_trace: tuple[Path, ...],
    phase: str | None,
    group: bool,
    depth: int | None,
    sort: str | None,
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
    import gc

    # Hundreds of thousands of objects that live until the end: the collector would only scan them.
    gc.disable()
    from rich.console import Console

    from layerscope.errors import DataError, UsageError
    from layerscope.report.console import render_account
    from layerscope.report.csv import write_layers_csv
    from layerscope.report.findings import render_findings
    from layerscope.run.findings import findings_of
    from layerscope.run.ranks import read_ranks, trace_files
    from layerscope.run.tables import read_saved

    screen = Console()
    traces = trace_files(run_or_trace)
    try:
        if len(traces) > 1:
            if device is not None:
                raise UsageError(f"--device {device}: give the one trace that the device is in.")
            found = read_ranks(traces)
            if csv_file is not None:
                write_layers_csv(found.total.table, csv_file)
            render_account(
                found.total, screen, phase=phase, group=group, depth=depth, sort=sort, top=top,
                ranks=found.ranks,
            )  # fmt: skip
            found.total.table.check()
            return
        saved = read_saved(traces[0], device)
    finally:
        gc.enable()
    account = saved.account
    if not account.table.rows:
        raise DataError(
            f"{traces[0]}: neither a device event nor a layer range in it, so there is no time "
            "to account for; give a run folder, or a torch.profiler trace of a device."
        )
    if csv_file is not None:
        write_layers_csv(account.table, csv_file)
    render_account(account, screen, phase=phase, group=group, depth=depth, sort=sort, top=top)
    seen = findings_of(account, saved.idle, saved.record, saved.layer_energy)
    render_findings(seen.seen, seen.not_judged, screen)
    account.table.check()
