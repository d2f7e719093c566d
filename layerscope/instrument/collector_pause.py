"""Python's garbage collector at rest while one batch is watched.

A full collection stops the host for some tenths of a second once the libraries are loaded, in whichever
layer happens to allocate the last object. A trace of one batch would show the device waiting for that
layer, and the batch's idle time and joules would be dealt out so.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Collect now, not inside; afterwards the collector is as it was."""
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
