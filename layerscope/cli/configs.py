"""`layerscope configs`: list the configurations that ship with layerscope, or copy one."""

from __future__ import annotations

from pathlib import Path

import click

from layerscope.cli.verb import verb
from layerscope.core.errors import EnvironmentProblem, UsageError
from layerscope.core.shipped import find_config, shipped_names
from layerscope.core.whole_file import whole_file


@verb("configs")
@click.option(
    "--copy", "name", metavar="NAME", help="Copy this configuration to the current folder."
)
def command(name: str | None) -> None:
    """List the shipped configurations, or copy one to change it."""
    if name is None:
        for known in shipped_names():
            click.echo(known)
        return
    source = find_config(name)
    target = Path.cwd() / source.name
    if target.exists():
        raise UsageError(f"{target}: exists already; move it away or copy from another folder.")
    try:
        with whole_file(target) as partial:
            partial.write_bytes(source.read_bytes())
    except OSError as error:
        raise EnvironmentProblem(f"{target}: cannot be written ({error.strerror}).") from None
    click.echo(f"wrote {target}")
