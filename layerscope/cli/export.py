"""`layerscope export`: a run's trace, or any trace, as a file for another viewer."""

from __future__ import annotations

from pathlib import Path

import click

from layerscope.cli.verb import verb


@verb(
    "export",
    "layerscope export traces/RUN --perfetto",
)
@click.argument("run_or_trace", type=click.Path(path_type=Path))
@click.option(
    "--tb-profiler",
    "tb_profiler",
    is_flag=True,
    help="For TensorBoard's tab PyTorch Profiler: <worker>.<time>.pt.trace.json.gz.",
)
@click.option(
    "--perfetto",
    is_flag=True,
    help="For Perfetto and chrome://tracing, with phases, decoder steps, layers and waits as named "
    "tracks: <trace>.perfetto.json.gz.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the files. Default: where the trace lies.",
)
def command(run_or_trace: Path, tb_profiler: bool, perfetto: bool, out: Path | None) -> None:
    """Export the trace of RUN_OR_TRACE: a run folder, or a trace that torch.profiler exported.

    The trace itself stays as it is. Reads the saved files alone, without torch.
    """
    from layerscope.core.errors import UsageError
    from layerscope.runs.export import (
        export_perfetto,
        export_tb_profiler,
        power_absent,
        refuse_empty,
    )
    from layerscope.runs.run import Run

    if not (tb_profiler or perfetto):
        raise UsageError("nothing to export: give --tb-profiler, --perfetto, or both.")
    run = Run.open(run_or_trace)
    folder = out or (run.trace.parent if run.trace is not None else run_or_trace)
    refuse_empty(run)  # before a folder is made
    _make(folder)
    if tb_profiler:
        fed = export_tb_profiler(run, folder)
        modules = f"{fed.modules:,} modules by call path"
        if not fed.modules:
            modules = "no layer ranges in the trace, so the Module view stays as the trace has it"
        _say(fed.path, modules)
    if perfetto:
        marked = export_perfetto(run, folder)
        slices = sum(marked.tracks.values())
        _say(marked.path, f"{slices:,} slices on {len(marked.tracks)} tracks of its own")
        click.echo(f"no counter of power: {power_absent(run.written)}", err=True)


def _make(folder: Path) -> None:
    from layerscope.core.errors import EnvironmentProblem

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(f"{folder}: cannot be made ({error.strerror}).") from None


def _say(path: Path, what: str) -> None:
    click.echo(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {what}", err=True)
