"""Known lines of libraries kept off the terminal; all else on stderr passes through unchanged.

Two kinds reach a terminal. C++ code writes to file descriptor 2, past `sys.stderr`; `LINES` names what
it is known to write. Python code warns; `advice_ignored` drops what is addressed to programmers.
A line is dropped for what it says, never for where it came from: what is not named here is printed.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_STDERR = 2


@dataclass(frozen=True, slots=True)
class KnownLine:
    """A line from C++ that tells a user nothing.

    Attributes:
        pattern: what the line holds.
        without_device: no news only where torch sees no CUDA device; elsewhere an error.
    """

    pattern: re.Pattern[bytes]
    without_device: bool = False


LINES = (
    # Newer Kineto says so at every session, whatever its log level.
    KnownLine(re.compile(rb"^\s*USDT:")),
    # Stands beside an error of our own that says the same.
    KnownLine(re.compile(rb"Failed to write to log file")),
    # The first session began on another thread than torch's import; only Kineto's daemon minds.
    KnownLine(re.compile(rb"External init callback must run in same thread")),
    # A CUDA build asks for devices at its first session. That there is none is said by `doctor`, by the
    # first line of a run and by the error of `--device cuda`.
    KnownLine(re.compile(rb"\bgpuGetDeviceCount failed\b"), without_device=True),
)
# Said at the first session of torch 2.11, of events that nobody here keeps across sessions.
_SESSION_WARNING = "Warning: Profiler clears events"
# Without a usable driver torch warns once, wherever it is asked first; the reason is said by whoever
# needs a device (`workload.cuda_device`).
_DEVICE_WARNING = "CUDA initialization:"
# Of a function's name, a default or a module that will change: for whoever calls it, which is us.
_FOR_PROGRAMMERS = (FutureWarning, DeprecationWarning, PendingDeprecationWarning)


@contextmanager
def without_library_noise() -> Iterator[None]:
    """Hold file descriptor 2 back while inside, then print what is not in `LINES`.

    Only for the instants of starting, stopping and exporting a session: the user's code runs outside.
    """
    import tempfile  # not for those who only want `advice_ignored`

    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        saved = os.dup(_STDERR)
    except OSError:  # no stderr at all (a daemon): nothing to keep clean
        yield
        return
    with tempfile.TemporaryFile() as held, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_SESSION_WARNING)
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(saved, _STDERR)
            os.close(saved)
            held.seek(0)
            for line in held:
                if not is_noise(line):
                    os.write(_STDERR, line)


@contextmanager
def advice_ignored() -> Iterator[None]:
    """Inside, drop Python warnings that are meant for programmers, from whichever library.

    For a command, whose user wrote none of the code that is warned about, and around imports of our
    own. Warnings of results (UserWarning, RuntimeWarning) stay. `python -W` and PYTHONWARNINGS win.
    """
    if sys.warnoptions:
        yield
        return
    with warnings.catch_warnings():
        for category in _FOR_PROGRAMMERS:
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("ignore", message=_DEVICE_WARNING)
        yield


def is_noise(line: bytes) -> bool:
    """Whether a line on stderr is one of `LINES`, here and now."""
    for known in LINES:
        if known.pattern.search(line):
            return not (known.without_device and _has_device())
    return False


def _has_device() -> bool:
    import torch

    return torch.cuda.is_available()
