"""Kineto's start and stop lines kept off the terminal; everything else on stderr passes through."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Newer Kineto prints these from C++ at every session, whatever its log level says.
_NOISE = b"USDT:"
_STDERR = 2


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
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(saved, _STDERR)
            os.close(saved)
            held.seek(0)
            for line in held:
                if not line.lstrip().startswith(_NOISE):
                    os.write(_STDERR, line)
