"""The profiler's start and stop lines kept off the terminal; all else on stderr passes through."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Newer Kineto prints the first from C++ at every session, whatever its log level says; the second
# stands beside an error of our own that says the same.
_NOISE = b"USDT:"
_FAILED_WRITE = b"Failed to write to log file"
_STDERR = 2
# Said at the first session of torch 2.11, of events that nobody here keeps across sessions.
_WARNED = "Warning: Profiler clears events"


@contextmanager
def without_kineto_noise() -> Iterator[None]:
    """Hold file descriptor 2 back while inside, then print what is not Kineto's noise.

    Only for the instants of starting and stopping a session: the user's code runs outside.
    """
    sys.stderr.flush()
    try:
        saved = os.dup(_STDERR)
    except OSError:  # no stderr at all (a daemon): nothing to keep clean
        yield
        return
    with tempfile.TemporaryFile() as held, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_WARNED)
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(saved, _STDERR)
            os.close(saved)
            held.seek(0)
            for line in held:
                if not _is_noise(line):
                    os.write(_STDERR, line)


def _is_noise(line: bytes) -> bool:
    return line.lstrip().startswith(_NOISE) or _FAILED_WRITE in line
