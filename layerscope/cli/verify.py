"""`layerscope verify`: whether a run's folder is as it was written, by its hashes and its trace."""

from __future__ import annotations

from pathlib import Path

import click

from layerscope.cli.verb import verb


@verb("verify", "layerscope verify traces/sample-tiny-b2")
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> None:
    """Verify RUN: every file by its recorded hash, every table by the trace.

    Names what differs and ends with exit code 5 then. Hashes are no signature: they show damage and
    later edits, not who wrote the run.
    """
    from layerscope.core.collector_pause import collector_at_rest
    from layerscope.core.errors import AccountingError
    from layerscope.runs.run import Run
    from layerscope.runs.verified import verify

    with collector_at_rest():
        found = verify(Run.open(run))
    if found.state != "changed":
        click.echo(f"{run}: {found.words}")
        return
    for line in (*found.differences, *found.notes):
        click.echo(line)
    count = len(found.differences)
    raise AccountingError(
        f"{run}: changed since it was written, in {count} {'place' if count == 1 else 'places'}."
    )
