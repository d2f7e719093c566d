"""`layerscope ceilings`: the rates this device reaches, as kept or measured now."""

from __future__ import annotations

from pathlib import Path

import click

from layerscope.cli.verb import verb


@verb(
    "ceilings",
    "layerscope ceilings --device cpu --json",
)
@click.option("--remeasure", is_flag=True, help="Measure now, although ceilings are kept.")
@click.option(
    "--export",
    "export",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write them here, as JSON.",
)
@click.option(
    "--device", type=click.Choice(["cuda", "cpu"]), help="Default: cuda where there is one."
)
@click.option("--json", "as_json", is_flag=True, help="Print the JSON instead of the table.")
def command(remeasure: bool, export: Path | None, device: str | None, as_json: bool) -> None:
    """Show the ceilings of this device: matmul by dtype and copy, each the best of many short runs.

    Rooflines and the floor of a run are held against them. They are kept for each device, board,
    power limit, driver and torch, and measured here where none are kept or the kept ones are in doubt;
    that takes some seconds. The table says how far the rounds scatter and what else ran meanwhile.
    """
    from rich.console import Console

    from layerscope.report.ceilings import ceilings_json, render_ceilings

    if export is not None:
        _refuse_unwritable(export)
    from layerscope.core.whole_file import whole_file
    from layerscope.measure.ceilings import cache_file
    from layerscope.report.progress import ProgressReporter
    from layerscope.run.ceilings import device_ceilings

    with ProgressReporter(Console(stderr=True), quiet=as_json).task("ceilings", 1) as advance:
        found = device_ceilings(device, remeasure=remeasure)
        advance(1)
    text = ceilings_json(found)
    if export is not None:
        with whole_file(export) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    if as_json:
        click.echo(text)
    else:
        render_ceilings(found, Console(), where=str(cache_file()))


def _refuse_unwritable(path: Path) -> None:
    """Before seconds are spent on measuring."""
    from layerscope.core.errors import UsageError

    if not path.absolute().parent.is_dir():
        raise UsageError(f"--export {path}: there is no folder {path.absolute().parent}.")
