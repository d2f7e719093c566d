"""A process that has imported what `layerscope` needs and forks itself for each command.

Most of a short command's time is the import of torch and transformers. Each fork is a process of
its own, with its own working folder, streams and exit code; only the imports are shared. Where a
test is about the start of a process (imports, environment variables, limits) it starts a fresh one.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import shutil
import signal
import socket
import struct
import sys
import traceback

_REQUEST_BYTES = 1 << 20
_LENGTH = struct.Struct("<i")
# Loaded once, here. What is not named is imported by the command itself, as ever.
_MODULES = (
    "torch",
    "torch.profiler",
    "torch.utils.flop_counter",
    "transformers",
    "transformers.generation",
    "transformers.models.instructblip.modeling_instructblip",
    "transformers.models.instructblip.processing_instructblip",
    "transformers.models.t5.modeling_t5",
    "transformers.models.blip.image_processing_blip",
    "layerscope.cli.profile",
    "layerscope.cli.flops",
    "layerscope.cli.sweep",
    "layerscope.cli.layers",
    "layerscope.cli.report",
    "layerscope.cli.compare",
    "layerscope.cli.export",
    "layerscope.cli.configs",
    "layerscope.cli.doctor",
    "layerscope.passes.profile",
    "layerscope.run.flops",
    "layerscope.sweep.run",
    "tensorboard.summary.writer.event_file_writer",
    "pyarrow.parquet",
    "jiwer",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
)


def main() -> None:
    """Serve on the Unix socket whose path is the first argument until the parent's pipe closes."""
    for name in _MODULES:
        # One that a later layout renames costs its time again, nothing else.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    server = socket.socket(socket.AF_UNIX)
    server.bind(sys.argv[1])
    server.listen()
    print("ready", flush=True)
    if os.fork():  # this one waits for the end of the tests, the other serves
        sys.stdin.read()
        shutil.rmtree(os.path.dirname(sys.argv[1]), ignore_errors=True)
        os.killpg(0, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _serve(connection)
        connection.close()


def _serve(connection: socket.socket) -> None:
    """Fork once more, send the process's id, then its return code as `subprocess` writes it."""
    text, streams, _, _ = socket.recv_fds(connection, _REQUEST_BYTES, 2)
    request = json.loads(text)
    child = os.fork()
    if child == 0:
        connection.close()
        _become(request, streams)
    connection.sendall(_LENGTH.pack(child))
    _, status = os.waitpid(child, 0)
    connection.sendall(_LENGTH.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _become(request: dict[str, object], streams: list[int]) -> None:
    """Be the command: this process's streams, folder and arguments, then its exit code."""
    code = 1
    try:
        for target, source in zip((1, 2), streams, strict=True):
            os.dup2(source, target)
            os.close(source)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.setsid()  # a group of its own, as a shell gives it
        os.chdir(str(request["cwd"]))
        sys.argv = ["layerscope", *request["arguments"]]  # type: ignore[misc]
        from layerscope.cli.main import main as command

        command()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
