"""`layerscope reproduce`: the five published tables, resumable, and one bundle that proves them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from layerscope.cli.interrupt import Interrupt
from layerscope.cli.verb import verb
from layerscope.reproduce.tables import TABLES

if TYPE_CHECKING:
    from layerscope.reproduce.run import Prepared, Reproduction

_INTERRUPTED = 130


@verb(
    "reproduce",
    "layerscope reproduce --variant tiny --plan-only",
)
@click.option(
    "--variant",
    type=click.Choice(["reference", "random", "tiny"]),
    default="reference",
    help="reference: the published model. As a rehearsal: random, its architecture with random "
    "weights; tiny, the bundled model on a CPU. Default: reference.",
)
@click.option("--model", help="Folder or hub id to run in place of the published model.")
@click.option("--processor", help="Folder or hub id of the processor, where the model has none.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder that holds textvqa/, scienceqa/ and coco/, each with that data set's Parquet files. "
    "Default: the hub.",
)
@click.option("--device", type=click.Choice(["cuda", "cpu"]), help="Default: as the tables say.")
@click.option("--samples", type=int, help="Samples a cell. Default: as the tables say, 300.")
@click.option(
    "--table",
    "tables",
    type=click.Choice(TABLES),
    multiple=True,
    help="Only this table; may be given again. Default: all five.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Its folder. Default: traces/reproduction, or traces/reproduction-<variant>.",
)
@click.option("--plan-only", is_flag=True, help="Say the plan and the estimate, run nothing.")
@click.option("--quiet", is_flag=True, help="Print only the bundle.")
@click.pass_context
def command(
    context: click.Context,
    variant: str,
    model: str | None,
    processor: str | None,
    data_dir: Path | None,
    device: str | None,
    samples: int | None,
    tables: tuple[str, ...],
    out: Path | None,
    plan_only: bool,
    quiet: bool,
) -> None:
    """Run the five published tables on pinned commits and bundle what they show.

    Stopped at any moment, the same command goes on. The bundle holds every table with the verdict on
    each published row, the runs behind them without their traces, and the environment.
    """
    from layerscope.core.errors import UsageError

    if variant != "reference" and (model or processor or data_dir):
        raise UsageError(
            f"--variant {variant} has its own model and data; leave out --model, --processor and "
            "--data-dir."
        )
    import torch

    from layerscope.reproduce.paths import Where
    from layerscope.reproduce.run import prepare

    where = Where(
        model=model, processor=processor, data_dir=data_dir, device=device, samples=samples
    )
    cuda = torch.cuda.is_available()
    if not plan_only:
        _check_device(variant, device, cuda=cuda)
    end = "" if variant == "reference" else f"-{variant}"
    root = out or Path("traces") / f"reproduction{end}"
    chosen = tuple(name for name in TABLES if name in tables) or TABLES
    prepared = prepare(root, variant, chosen, where, cuda=cuda)  # type: ignore[arg-type]
    if plan_only:
        from layerscope.reproduce.run import say_plans

        say_plans(prepared, click.echo)
        return
    try:
        done = _run(context, prepared, quiet=quiet)
    except KeyboardInterrupt:
        click.echo(
            f"layerscope: interrupted; finished cells are kept in {root}, the same command goes on.",
            err=True,
        )
        raise click.exceptions.Exit(_INTERRUPTED) from None
    _show(done, quiet=quiet)


def _check_device(variant: str, device: str | None, *, cuda: bool) -> None:
    """The published tables ran on a GPU: without one, say so before anything is downloaded."""
    from layerscope.core.errors import EnvironmentProblem

    if cuda or device == "cpu" or (variant == "tiny" and device is None):
        return
    raise EnvironmentProblem(
        "the published tables need a CUDA GPU and torch sees none (`layerscope doctor` says why); "
        "--variant tiny rehearses them on this machine, --device cpu runs the model in fp32."
    )


def _run(context: click.Context, prepared: Prepared, *, quiet: bool) -> Reproduction:
    from rich.console import Console

    from layerscope.report.progress import ProgressReporter
    from layerscope.reproduce.run import reproduce

    beside = Console(stderr=True)

    def say(line: str) -> None:
        if not quiet:
            beside.print(line, markup=False, highlight=False, soft_wrap=True)

    interrupt = context.find_object(Interrupt)
    return reproduce(
        prepared,
        ProgressReporter(beside, quiet=quiet),
        say,
        interrupted=lambda: interrupt is not None and interrupt.pressed,
    )


def _show(done: Reproduction, *, quiet: bool) -> None:
    from rich.console import Console

    from layerscope.core.errors import AccountingError
    from layerscope.report.page import Page
    from layerscope.reproduce.page import check_grid, state_grid

    page = Page(Console())
    if not quiet:
        page.grid(state_grid(done.sweeps))
        page.grid(check_grid(done.checks))
        page.line()
    page.line(str(done.bundle))
    failed = [f"{c.table} {c.cell}" for c in done.checks if not c.holds]
    if failed:
        raise AccountingError(
            f"{len(failed)} of {len(done.checks)} cells do not check ({failed[0]}); see checks.csv."
        )
    for problem in done.problems.values():
        raise problem
