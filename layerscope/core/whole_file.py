"""A path in, a name to write under out: the file appears under its own name only when it is whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

# What is being written, a file or a run's folder, has a name that begins so.
PARTIAL = ".partial-"


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` that replaces it when the block ends well and is removed when not.

    So neither a full disk nor a kill leaves half a file, or takes the one that was there before. What
    cannot be replaced (a pipe, `/dev/stdout`) is written as it is.

    Raises:
        OSError: what the block raises, or that the name cannot be taken.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    target = path.resolve() if path.is_symlink() else path
    # The ending stays: libraries choose the format by it.
    partial = target.with_name(f"{PARTIAL}{os.getpid()}-{target.name}")
    try:
        yield partial
        os.replace(partial, target)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
