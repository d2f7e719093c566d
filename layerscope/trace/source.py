"""A trace file in, blocks of its plain bytes out: plain, gzipped, or alone in a zip archive.

What it is follows from its first bytes, not from its name. Memory is one block, whatever the file.
"""

from __future__ import annotations

import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from layerscope.core.errors import DataError
from layerscope.core.folder_file import MOST_BYTES, open_file

_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGIC = b"PK\x03\x04"
_READ_BYTES = 1 << 18
_GZIP_WBITS = 16 + zlib.MAX_WBITS
# Traces shrink 10 to 60 times. What unfolds beyond this is made to fill a disk or a memory.
MOST_EXPANSION = 300
_EXPANSION_FROM_BYTES = 16 << 20

# All that zipfile raises on damaged, encrypted or unknown archives; OSError when told to seek nowhere.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    RuntimeError,
    ValueError,
    LookupError,
    EOFError,
    OSError,
)

Read = Callable[[int], bytes]


def read_blocks(path: Path, block_bytes: int) -> Iterator[bytes]:
    """Yield the file's uncompressed bytes in blocks of at most `block_bytes`.

    Raises:
        DataError: the file is missing, unreadable, empty, a link or no regular file; its compressed
            data is damaged, cut, or unfolds more than `MOST_EXPANSION` times; a zip that does not hold
            exactly one file.
    """
    try:
        with open_file(path, most_bytes=MOST_BYTES.get(path.name, sys.maxsize)) as file:
            magic = file.read(4)
            if not magic:
                raise DataError(f"{path}: the file is empty; a Kineto trace was expected.")
            file.seek(0)
            if magic == _ZIP_MAGIC:
                yield from _unzip(file, path, block_bytes)
            else:
                yield from _plain_or_gzip(file.read, magic, path, block_bytes)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from None


def _plain_or_gzip(
    read: Read, magic: bytes, path: Path, block_bytes: int, ahead: bytes = b""
) -> Iterator[bytes]:
    """`magic` are the first bytes; `ahead` those that were taken from `read` to see them."""
    if magic.startswith(_GZIP_MAGIC):
        yield from _gunzip(read, path, block_bytes, ahead)
        return
    if ahead:
        yield ahead
    while block := read(block_bytes):
        yield block


def _unzip(file: IO[bytes], path: Path, block_bytes: int) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) != 1:
                names = ", ".join(repr(member.filename) for member in members[:3])
                raise DataError(
                    f"{path}: the zip holds {len(members)} files ({names}); "
                    "unpack it and give one trace."
                )
            with archive.open(members[0]) as inner:
                # zipfile gives out no more than the archive's list says, so one look is enough.
                _Expansion(path).check(members[0].compress_size, members[0].file_size)
                ahead = inner.read(len(_ZIP_MAGIC))
                yield from _plain_or_gzip(inner.read, ahead, path, block_bytes, ahead)
    except _ZIP_ERRORS as error:
        raise DataError(
            f"{path}: the zip cannot be unpacked ({error}), near byte {file.tell():,} of the file."
        ) from None


def _gunzip(read: Read, path: Path, block_bytes: int, ahead: bytes) -> Iterator[bytes]:
    """Inflate member after member; `max_length` bounds each block however well it compresses."""
    inflater = zlib.decompressobj(_GZIP_WBITS)
    compressed = ahead
    read_so_far = len(ahead)
    limit = _Expansion(path)
    while True:
        if not compressed:
            compressed = read(_READ_BYTES)
            read_so_far += len(compressed)
            if not compressed:
                break
        if inflater.eof:
            inflater = zlib.decompressobj(_GZIP_WBITS)
        try:
            block = inflater.decompress(compressed, block_bytes)
        except zlib.error as error:
            raise DataError(
                f"{path}: damaged gzip data near compressed byte {read_so_far} ({error}); "
                "copy or export the trace again."
            ) from None
        compressed = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        if block:
            limit.check(read_so_far, len(block))
            yield block
    if not inflater.eof:
        raise DataError(
            f"{path}: the gzip data ends early, after {read_so_far} compressed bytes; "
            "the copy or the export was cut short."
        )


class _Expansion:
    """Counts what came out and refuses a file that unfolds as no trace does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._out = 0

    def check(self, compressed: int, block: int) -> None:
        self._out += block
        if self._out > _EXPANSION_FROM_BYTES and self._out > MOST_EXPANSION * compressed:
            raise DataError(
                f"{self._path}: {compressed:,} compressed bytes unfold to more than "
                f"{self._out:,}; no trace shrinks {MOST_EXPANSION} times, so this is no trace."
            )
