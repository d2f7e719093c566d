"""`layerscope configs`: list the configurations that ship with layerscope, or copy one."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from layerscope.cli.verb import verb
from layerscope.core.errors import EnvironmentProblem, UsageError
from layerscope.core.shipped import find_config, shipped_line, shipped_names
from layerscope.core.whole_file import whole_file

# Folder of configs/ -> what takes the names in it.
_TAKEN_BY = {
    "models": "layerscope profile --weights random --model NAME",
    "reference": "layerscope sweep NAME",
}


@verb(
    "configs",
    "layerscope configs",
    "layerscope configs --copy reference/batch_size",
)
@click.option(
    "--copy", "name", metavar="NAME", help="Copy this configuration to the current folder."
)
def command(name: str | None) -> None:
    """List the shipped configurations, each with a line on what it is, or copy one to change it."""
    if name is None:
        _list()
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


def _list() -> None:
    names = shipped_names()
    widest = max(map(len, names))
    for folder, taken_by in _TAKEN_BY.items():
        click.echo(taken_by)
        for name in names:
            if name.startswith(f"{folder}/"):
                click.echo(_cut(f"  {name:<{widest}}  {shipped_line(name)}"))


def _cut(line: str) -> str:
    """One line of the terminal, cut at a word; whole where it is read by a program."""
    width = shutil.get_terminal_size().columns
    if not sys.stdout.isatty() or len(line) <= width:
        return line
    return line[: width - 2].rpartition(" ")[0].rstrip(" ,:") + " .."
