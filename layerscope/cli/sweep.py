"""`layerscope sweep`: many runs from one file, kept as they finish, and the tables they make."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from layerscope.cli.interrupt import Interrupt
from layerscope.cli.verb import verb

if TYPE_CHECKING:
    from layerscope.records.sweep import Cell, SweepConfig
    from layerscope.sweep.cluster.executor import RayExecutor
    from layerscope.sweep.run import SweepResult
    from layerscope.sweep.show import Choice

_INTERRUPTED = 130


@verb(
    "sweep",
    "layerscope sweep reference/tiny/batch_size --plan-only",
    "layerscope sweep my-sweep.yaml --where 'wer<0.3' --minimize energy",
)
@click.argument("config_file", metavar="CONFIG")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The sweep's folder. Default: traces/sweep-<name>.",
)
@click.option(
    "--resume/--fresh",
    "resume",
    default=True,
    help="Keep finished cells and run what is missing, or remove them and start anew. "
    "Default: --resume.",
)
@click.option(
    "--executor",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="Where cells run: one after the other in this process, or on every device of a Ray cluster.",
)
@click.option(
    "--address",
    help="With --executor ray: HOST:PORT of the cluster; auto, the one on this machine; or local, "
    "this machine alone. Default: RAY_ADDRESS, else auto, else local.",
)
@click.option("--plan-only", is_flag=True, help="Say the plan and the estimate, run nothing.")
@click.option("--where", "rule", help="Show only cells such as 'wer<0.3 and batch_size>=4'.")
@click.option("--minimize", help="Show cells by this number, least first: energy, latency, wer, …")
@click.option(
    "--beside-reference", is_flag=True, help="The published row beside each cell, and a verdict."
)
@click.option("--quiet", is_flag=True, help="Print only the folder.")
@click.pass_context
def command(
    context: click.Context,
    config_file: str,
    out: Path | None,
    resume: bool,
    executor: str,
    address: str | None,
    plan_only: bool,
    rule: str | None,
    minimize: str | None,
    beside_reference: bool,
    quiet: bool,
) -> None:
    """Run every cell of CONFIG, a YAML file or a shipped sweep such as reference/batch_size.

    Finished cells are kept: the same command goes on with what is missing. A cell that fails is a
    row with its reason; the exit code is then not 0.
    """
    from layerscope.config.sweep import find_sweep, read_sweep
    from layerscope.core.errors import UsageError
    from layerscope.sweep.selection_rule import check_number, parse_rule

    # What the user typed is refused before anything is loaded.
    parsed = parse_rule(rule) if rule is not None else None
    if minimize is not None:
        check_number(minimize, "--minimize")
    path = find_sweep(config_file)
    config = read_sweep(path)
    if beside_reference and config.reference is None:
        raise UsageError(
            f"--beside-reference: {path} names no published table; add a line such as "
            "`reference: batch_size`."
        )
    if address is not None and executor != "ray":
        raise UsageError("--address: give --executor ray with it.")
    root = out or Path("traces") / f"sweep-{config.name}"
    with _cluster(executor, address) as cluster:
        cells = _plan(config, str(path), root, cluster)
        if plan_only:
            _show_plan(config, cells, root)
            return

        from layerscope.sweep.show import Choice

        choice = Choice(
            rule=parsed, minimise=minimize, beside_reference=beside_reference, quiet=quiet
        )
        try:
            result = _run(context, config, cells, root, choice, cluster, fresh=not resume)
        except KeyboardInterrupt:
            click.echo(
                f"layerscope: interrupted; finished cells are kept in {root} and stand in sweep.csv, "
                "the same command goes on.",
                err=True,
            )
            raise click.exceptions.Exit(_INTERRUPTED) from None
    if result.problem is not None:
        raise result.problem


def _cluster(
    executor: str, address: str | None
) -> contextlib.AbstractContextManager[RayExecutor | None]:
    """The Ray cluster that cells run on; None for this process."""
    if executor == "local":
        return contextlib.nullcontext()
    from layerscope.sweep.cluster.executor import RayExecutor

    return RayExecutor(address)


def _plan(
    config: SweepConfig, where: str, root: Path, cluster: RayExecutor | None
) -> tuple[Cell, ...]:
    from layerscope.config.plan import plan
    from layerscope.sweep.run import cells_path

    out = str(cells_path(root))
    # Once without torch: a wrong value must not cost the seconds that importing torch takes.
    cells = plan(config, cuda=False, where=where, out=out)
    if any(choice.startswith("device ") for cell in cells for choice in cell.choices):
        cells = plan(config, cuda=_has_cuda(cluster), where=where, out=out)
    return cells


def _has_cuda(cluster: RayExecutor | None) -> bool:
    if cluster is not None:
        return cluster.has_cuda()
    import torch

    return torch.cuda.is_available()


def _show_plan(config: SweepConfig, cells: tuple[Cell, ...], root: Path) -> None:
    from layerscope.runs.sweep_folder import SweepFolder
    from layerscope.sweep.run import say_plan

    finished = SweepFolder(root).finished()
    missing = [cell for cell in cells if cell.id not in finished]
    say_plan(config, cells, finished, missing, click.echo)


def _run(
    context: click.Context,
    config: SweepConfig,
    cells: tuple[Cell, ...],
    root: Path,
    choice: Choice,
    cluster: RayExecutor | None,
    *,
    fresh: bool,
) -> SweepResult:
    from rich.console import Console

    from layerscope.report.progress import ProgressReporter
    from layerscope.sweep.run import PlannedSweep, Watcher, run_sweep
    from layerscope.sweep.show import publish_and_show

    beside = Console(stderr=True)

    def say(line: str) -> None:
        if not choice.quiet:
            beside.print(line, markup=False, highlight=False, soft_wrap=True)

    return run_sweep(
        PlannedSweep(config, cells, root),
        Watcher(ProgressReporter(beside, quiet=choice.quiet), say, _pressed(context)),
        fresh=fresh,
        executor=cluster,
        then=lambda result: publish_and_show(result, Console(), choice),
    )


def _pressed(context: click.Context) -> Callable[[], bool]:
    """Whether Ctrl-C was pressed, from the `Interrupt` around the whole command."""
    interrupt = context.find_object(Interrupt)
    return (lambda: False) if interrupt is None else (lambda: interrupt.pressed)
