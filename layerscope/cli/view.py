"""`layerscope view`: TensorBoard on this machine over a folder of runs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import click

from layerscope.cli.verb import verb
from layerscope.core.errors import EnvironmentProblem, UsageError


@verb("view")
@click.argument("logdir", default="traces", type=click.Path(path_type=Path))
@click.option(
    "--port", default=6006, show_default=True, help="Port on 127.0.0.1; 0 picks a free one."
)
def command(logdir: Path, port: int) -> int:
    """Start TensorBoard on 127.0.0.1 over LOGDIR (default: traces)."""
    if not logdir.is_dir():
        raise UsageError(f"{logdir}: no such folder; `layerscope profile` makes runs in traces/.")
    if importlib.util.find_spec("tensorboard") is None:
        raise EnvironmentProblem("tensorboard is not installed here; pip install tensorboard.")
    command = [sys.executable, "-m", "layerscope.tab.server", "--logdir", str(logdir)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    click.echo(f"TensorBoard over {logdir.resolve()}; Ctrl-C stops it.", err=True)
    # Replaced, not spawned: Ctrl-C and signals reach TensorBoard itself.
    if os.name == "posix":
        os.execv(command[0], command)
    return subprocess.run(command, check=False).returncode
