"""`layerscope run -- PROGRAM`: anybody's program, unchanged, with a call of its model accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from layerscope.cli.verb import verb

if TYPE_CHECKING:
    from layerscope.run.program.finish import Finished


@verb("run", "layerscope run -- python chat.py --port 8000", interspersed=False)
@click.option(
    "--step",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="The call of the model that is traced, counted from 1.",
)
@click.option(
    "--steps",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Calls in one trace.",
)
@click.option("--every", type=click.IntRange(min=1), help="Trace again every so many calls.")
@click.option(
    "--keep",
    default=4,
    show_default=True,
    type=click.IntRange(min=1),
    help="With --every: the newest traces that are kept of each process.",
)
@click.option(
    "--model-name", help="Class of the model. Default: the largest that is called by no other."
)
@click.option(
    "--count",
    is_flag=True,
    help="Count FLOPs and bytes of one later call that has the traced one's shapes.",
)
@click.option(
    "--out",
    default=Path("traces"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder that receives the run folders.",
)
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    step: int,
    steps: int,
    every: int | None,
    keep: int,
    model_name: str | None,
    count: bool,
    out: Path,
    program: tuple[str, ...],
) -> None:
    """Run PROGRAM as it is, and account for one call of its model, layer by layer.

    Write -- before the program: layerscope run -- python chat.py --port 8000. Its output, signals and
    exit code are its own. The model is the largest module that no other module calls, or whose
    generate() is called; the third call is traced. SIGUSR2 traces the next one. Child processes are
    followed. What layerscope has to say comes at the end, on stderr.
    """
    import shutil
    import tempfile

    from layerscope.run.program.asked import Asked
    from layerscope.run.program.meanwhile import Meanwhile
    from layerscope.run.program.started import name_of, run_program

    spool = Path(tempfile.mkdtemp(prefix="layerscope-run-"))
    try:
        asked = Asked(
            spool=str(spool),
            step=step,
            steps=steps,
            every=every,
            keep=keep,
            model=model_name,
            count=count,
        )
        place = out.absolute()  # the program may change the directory of nothing but itself
        name = name_of(program)
        with Meanwhile(spool, place, name) as meanwhile:
            ended = run_program(program, asked)
        from layerscope.run.program.finish import finish  # torch, which no program waits for

        _say(finish(spool, place, name, step, meanwhile.saved))
    finally:
        shutil.rmtree(spool, ignore_errors=True)
    ended.leave()


def _say(finished: Finished) -> None:
    """The account's first screen of the last window, every folder, and what was not traced."""
    from rich.console import Console

    from layerscope.core.files import TRACE_FILE
    from layerscope.report.console import Traced, render_run
    from layerscope.runs.run import Run

    screen = Console(stderr=True)
    if finished.folders:
        run = Run.open(finished.folders[-1])
        assert run.written is not None  # its folder was written just now
        traced = Traced(account=run.account, findings=run.findings)
        render_run(run.written, traced, screen, folder=finished.folders[-1])
    for folder in finished.folders:
        click.echo(f"layerscope: run folder {folder}", err=True)
    for note in finished.notes:
        click.echo(f"layerscope: {note}", err=True)
    if len(finished.folders) > 1:
        traces = " ".join(str(folder / TRACE_FILE) for folder in finished.folders)
        click.echo(f"layerscope: their sum by layer: layerscope layers {traces}", err=True)
    if finished.folders:
        click.echo(
            f"layerscope: look at it with layerscope view {finished.folders[-1].parent}", err=True
        )
