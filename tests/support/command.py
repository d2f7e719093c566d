"""The real `layerscope` command in a process of its own, as a user's shell runs it."""

from __future__ import annotations

import atexit
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import IO

TESTS = Path(__file__).resolve().parents[1]
# Set, every command is a fresh process, imports and all: `make test-command`.
FRESH = "LAYERSCOPE_TESTS_FRESH"
_SET = {"HF_HUB_OFFLINE": "1", "COLUMNS": "120"}
_INT_BYTES = 4
Done = subprocess.CompletedProcess[str]


def layerscope(
    *arguments: str | Path, cwd: Path | None = None, timeout: float = 240, fresh: bool = False
) -> Done:
    """Run `python -m layerscope …` and return its code and output.

    Args:
        fresh: start Python anew; else fork from a process that has done the imports, unless the
            environment has changed since that one started.
    """
    command = [sys.executable, "-m", "layerscope", *map(str, arguments)]
    if not fresh and FRESH not in os.environ and hasattr(os, "fork"):
        server = _server()
        if server.environment == _environment():
            return server.run(command, cwd or Path.cwd(), timeout)
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **_SET},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def started(*arguments: str | Path) -> Running | subprocess.Popen[str]:
    """Start `layerscope …` in a process group of its own, as a shell does on a terminal; the streams
    are pipes."""
    command = [sys.executable, "-m", "layerscope", *map(str, arguments)]
    if FRESH not in os.environ and hasattr(os, "fork") and _server().environment == _environment():
        return _server().start(command)
    return subprocess.Popen(
        command,
        env={**os.environ, **_SET},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


class Running:
    """A command that a fork runs, with the part of `subprocess.Popen` that the tests use.

    Attributes:
        pid: of the command, which leads its process group.
        stderr: what it says, as it says it.
        returncode: None until it has ended and been asked.
    """

    def __init__(self, connection: socket.socket, out: IO[str], err: IO[str]) -> None:
        self.pid = _number(connection)
        self.stderr = err
        self.returncode: int | None = None
        self._connection, self._out = connection, out

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.returncode = _number(self._connection)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal the command alone."""
        os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for the end; what is left on its streams. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            with ThreadPoolExecutor(2) as readers:  # a full pipe would hold the command up
                said = [readers.submit(stream.read) for stream in (self._out, self.stderr)]
                try:
                    self.returncode = _number(self._connection)
                except TimeoutError:
                    os.killpg(self.pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired("layerscope", timeout) from None
            texts = [future.result() for future in said]
        else:
            texts = [stream.read() for stream in (self._out, self.stderr)]
        for held in (self._connection, self._out, self.stderr):
            held.close()
        return texts[0], texts[1]


class _Server:
    """`support.command_server`, started for this test process and ended with it."""

    def __init__(self) -> None:
        self.environment = _environment()
        self._folder = Path(tempfile.mkdtemp(prefix="layerscope-tests-"))
        self._socket = self._folder / "socket"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.command_server", str(self._socket)],
            env={**os.environ, **_SET, "PYTHONPATH": _path()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        atexit.register(self._end)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the command server did not start"

    def run(self, command: list[str], cwd: Path, timeout: float) -> Done:
        """Have the command run by a fork. Raises subprocess.TimeoutExpired, as `subprocess` does."""
        with (
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            socket.socket(socket.AF_UNIX) as connection,
        ):
            connection.settimeout(timeout)
            connection.connect(str(self._socket))
            request = json.dumps({"arguments": command[3:], "cwd": str(cwd)}).encode()
            socket.send_fds(connection, [request], [out.fileno(), err.fileno()])
            child = _number(connection)
            try:
                code = _number(connection)
            except TimeoutError:
                os.kill(child, signal.SIGKILL)
                raise subprocess.TimeoutExpired(command, timeout) from None
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode())
        return subprocess.CompletedProcess(command, code, *texts)

    def start(self, command: list[str]) -> Running:
        """Have the command started by a fork."""
        (out, its_out), (err, its_err) = os.pipe(), os.pipe()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self._socket))
        request = json.dumps({"arguments": command[3:], "cwd": str(Path.cwd())}).encode()
        socket.send_fds(connection, [request], [its_out, its_err])
        running = Running(connection, os.fdopen(out), os.fdopen(err))
        os.close(its_out)
        os.close(its_err)
        return running

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


@cache
def _server() -> _Server:
    return _Server()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def _path() -> str:
    return os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))


def _number(connection: socket.socket) -> int:
    data = b""
    while len(data) < _INT_BYTES:
        more = connection.recv(_INT_BYTES - len(data))
        if not more:
            raise RuntimeError("the command server ended before the command did")
        data += more
    return int.from_bytes(data, "little", signed=True)
