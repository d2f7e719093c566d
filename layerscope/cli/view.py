"""`layerscope view`: TensorBoard on this machine over a folder of runs."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import click

from layerscope.cli.browser import open_once_there
from layerscope.cli.verb import verb
from layerscope.core.errors import EnvironmentProblem, UsageError


@verb(
    "view",
    "layerscope view traces --open",
)
@click.argument("logdir", default="traces", type=click.Path(path_type=Path))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=6006,
    show_default=True,
    help="Port on 127.0.0.1; 0 picks a free one.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
def command(logdir: Path, port: int, *, opens: bool) -> int:
    """Start TensorBoard on 127.0.0.1 over LOGDIR (default: traces)."""
    if not logdir.is_dir():
        raise UsageError(f"{logdir}: no such folder; `layerscope profile` makes runs in traces/.")
    if importlib.util.find_spec("tensorboard") is None:
        raise EnvironmentProblem("tensorboard is not installed here; pip install tensorboard.")
    if opens and port == 0:
        raise UsageError("--open: give the --port that the browser is to open.")
    if port and _taken(port):
        raise EnvironmentProblem(
            f"--port {port}: another program listens there; choose another port, or 0 for a free one."
        )
    command = [sys.executable, "-m", "layerscope.tab.server", "--logdir", str(logdir)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    click.echo(f"TensorBoard over {logdir.resolve()}; Ctrl-C stops it.", err=True)
    if opens:
        open_once_there(f"http://127.0.0.1:{port}/#layerscope", port)
    # Replaced, not spawned: Ctrl-C and signals reach TensorBoard itself.
    if os.name == "posix":
        os.execv(command[0], command)
    return subprocess.run(command, check=False).returncode


def _taken(port: int) -> bool:
    """Whether something answers at this port of 127.0.0.1."""
    with socket.socket() as caller:
        caller.settimeout(1)
        return caller.connect_ex(("127.0.0.1", port)) == 0
