"""A file of somebody's folder in, its bytes out: the one way to read a run's or a sweep's files.

A folder may come from anyone. Its files are regular files of a size that such a file can have; a link,
a pipe or a device in its place is refused, and what is refused is decided on the descriptor that is then
read, so that nothing can be exchanged between the look and the reading. The folder itself may be reached
through links: whoever names it chose it.

A refusal is an OSError, whose `strerror` is the reason in words.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import TextIO, TypeVar

from layerscope.core.errors import DataError
from layerscope.core.files import (
    FINDINGS_FILE,
    LAYER_ENERGY_FILE,
    LAYERS_FILE,
    PREDICTIONS_FILE,
    RUN_FILE,
    SWEEP_LAYERS_FILE,
    TRACE_FILE,
    parse_json,
)
from layerscope.core.units import MIB

T = TypeVar("T")

# The largest run of the XL model: run.json 0.4 MiB, layers.csv 0.6, operators.csv 1.3, trace 75.
# Answers are in run.json and predictions.csv: 50,000 of them take about 40 MiB.
MOST_BYTES = {
    RUN_FILE: 64 * MIB,
    TRACE_FILE: 4096 * MIB,
    LAYERS_FILE: 32 * MIB,
    LAYER_ENERGY_FILE: 32 * MIB,
    FINDINGS_FILE: 8 * MIB,
    PREDICTIONS_FILE: 256 * MIB,
    SWEEP_LAYERS_FILE: 4096 * MIB,  # copied in pieces, never held
}
MOST_BYTES_OF_OTHERS = 64 * MIB
# What small values take in Python: a JSON of 64 MiB may hold twenty million of them. 50,000 answers and
# their timings take 90 MiB by this count.
_BYTES_A_VALUE, _BYTES_AN_OBJECT = 72, 240
_MOST_UNFOLDED_BYTES = 128 * MIB

_FLAGS = os.O_RDONLY
for _name in ("O_BINARY", "O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY"):
    _FLAGS |= getattr(os, _name, 0)  # Windows has the first alone
_FOLDER_FLAGS = _FLAGS | getattr(os, "O_DIRECTORY", 0)
_BY_DESCRIPTOR = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_KINDS = (
    (stat.S_ISLNK, "a link; files of a folder may not be links"),
    (stat.S_ISDIR, "a folder and no file"),
    (stat.S_ISFIFO, "a pipe and no file"),
    (stat.S_ISSOCK, "a socket and no file"),
)


def open_file(
    path: Path, below: Path | None = None, most_bytes: int | None = None
) -> BufferedReader:
    """Open a file of a folder for reading.

    Args:
        below: the folder that was named; neither the file nor a folder between may be a link. None: the
            file's own folder.
        most_bytes: the size from which it is refused; None: what `MOST_BYTES` has for its name.

    Raises:
        OSError: no such file, a refusal, or as of the disk.
    """
    most = MOST_BYTES.get(path.name, MOST_BYTES_OF_OTHERS) if most_bytes is None else most_bytes
    descriptor = _open(path, path.parent if below is None else below)
    try:
        size = _regular(os.fstat(descriptor), path).st_size
        if size > most:
            raise _refusal(
                path, f"{size / MIB:,.0f} MiB; such a file has {most / MIB:,.0f} at most"
            )
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: Path, below: Path | None = None, most_bytes: int | None = None) -> bytes:
    """The whole of a file of a folder; see `open_file`.

    Raises:
        OSError: no such file, a refusal, or as of the disk.
    """
    with open_file(path, below, most_bytes) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size + 1)
    if len(data) > size:
        raise _refusal(path, "it grows while it is read")
    return data


def read_json_bytes(path: Path, below: Path | None = None) -> bytes:
    """The text of a file of JSON, unless its values would take far more memory than the text.

    Raises:
        OSError: no such file, a refusal, or as of the disk.
    """
    data = read_file(path, below)
    unfolded = data.count(b",") * _BYTES_A_VALUE + data.count(b"{") * _BYTES_AN_OBJECT
    if unfolded > _MOST_UNFOLDED_BYTES:
        raise _refusal(path, f"its values would take about {unfolded / MIB:,.0f} MiB of memory")
    return data


def read_json(path: Path, form: type[T], what: str) -> T:
    """Read a file of JSON.

    Args:
        form: what it must hold.
        what: that in words, as in "not {what}".

    Raises:
        DataError: the file is missing, cannot be read, or does not hold that.
    """
    try:
        data = read_json_bytes(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from None
    return parse_json(data, path, form, what)


def read_json_if_there(path: Path, form: type[T], what: str) -> T | None:
    """The same; None where there is no such file.

    Raises:
        DataError: the file cannot be read, or does not hold that.
    """
    return read_json(path, form, what) if is_there(path) else None


@contextlib.contextmanager
def table_text(path: Path) -> Iterator[TextIO]:
    """A table in CSV, open as text.

    Raises:
        OSError: no such file, a refusal, or as of the disk.
    """
    with open_file(path) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        yield text


def named_file(path: Path) -> Path:
    """What a file that the user named himself leads to: his own links are followed, a folder's not."""
    return path.resolve() if path.is_symlink() else path


def state_of(path: Path) -> os.stat_result | None:
    """Size and times of a regular file; None where there is none of this name, or something else."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def is_there(path: Path) -> bool:
    """Whether anything has this name; what it is, `open_file` looks at."""
    return os.path.lexists(path)


def _open(path: Path, below: Path) -> int:
    """A descriptor of the file, opened without waiting and without following a link."""
    parts = path.relative_to(below).parts
    if not parts or any(part in ("..", "") for part in parts):
        raise _refusal(path, "it leads out of its folder")
    try:
        if _BY_DESCRIPTOR:
            return _open_by_descriptor(below, parts)
        return _open_by_name(path, below, parts)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO) or isinstance(error, IsADirectoryError):
            raise _refusal(path, _what(path)) from None
        raise


def _open_by_descriptor(below: Path, parts: tuple[str, ...]) -> int:
    with contextlib.ExitStack() as opened:
        folder: int | None = None
        if len(parts) > 1:
            follow = _FOLDER_FLAGS & ~getattr(os, "O_NOFOLLOW", 0)
            folder = os.open(below, follow)
            opened.callback(os.close, folder)
        for part in parts[:-1]:
            _refuse_link(part, folder)
            folder = os.open(part, _FOLDER_FLAGS, dir_fd=folder)
            opened.callback(os.close, folder)
        name = parts[-1] if folder is not None else below / parts[-1]
        # Opening a device can do something, so it is not even opened where it stands there plainly.
        _regular(os.lstat(name, dir_fd=folder), below.joinpath(*parts))
        return os.open(name, _FLAGS, dir_fd=folder)


def _open_by_name(path: Path, below: Path, parts: tuple[str, ...]) -> int:
    """Where descriptors of folders are not to be had: the file opened must be the one looked at."""
    for number in range(1, len(parts)):
        _refuse_link(below.joinpath(*parts[:number]), None)
    seen = _regular(os.lstat(path), path)
    descriptor = os.open(path, _FLAGS)
    if not os.path.samestat(seen, os.fstat(descriptor)):
        os.close(descriptor)
        raise _refusal(path, "it was exchanged while it was opened")
    return descriptor


def _refuse_link(name: str | Path, folder: int | None) -> None:
    if stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode):
        raise _refusal(name, "a link; folders in a folder may not be links")


def _regular(found: os.stat_result, path: str | Path) -> os.stat_result:
    if not stat.S_ISREG(found.st_mode):
        raise _refusal(path, _kind(found))
    return found


def _what(path: Path) -> str:
    try:
        return _kind(os.lstat(path))
    except OSError:
        return "no regular file"


def _kind(found: os.stat_result) -> str:
    return next((words for test, words in _KINDS if test(found.st_mode)), "a device and no file")


def _refusal(path: str | Path, why: str) -> OSError:
    return OSError(errno.EINVAL, why, str(path))
