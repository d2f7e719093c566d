"""An address or a file in, a page in the user's browser out."""

from __future__ import annotations

import subprocess
import sys
import webbrowser
from pathlib import Path

from layerscope.core.errors import EnvironmentProblem

_WAIT_S = 60
# Waits for the server in a process of its own: the caller's is replaced by the server's.
_WAITING = """
import socket, sys, time, webbrowser
address, port, end = sys.argv[1], int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    with socket.socket() as caller:
        caller.settimeout(1)
        if caller.connect_ex(("127.0.0.1", port)) == 0:
            webbrowser.open(address)
            break
    time.sleep(0.25)
"""


def open_file(path: Path) -> None:
    """Show a page that was written.

    Raises:
        EnvironmentProblem: there is no browser here.
    """
    if not webbrowser.open(path.resolve().as_uri()):
        raise EnvironmentProblem(f"--open: no browser on this machine; the page is {path}.")


def open_once_there(address: str, port: int) -> None:
    """Show a page of a server on 127.0.0.1 as soon as it answers; say nothing where it never does."""
    subprocess.Popen(
        [sys.executable, "-c", _WAITING, address, str(port), str(_WAIT_S)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
