"""A trace file in, blocks of its plain bytes out; gzip is recognised by its magic, not its name."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from layerscope.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_READ_BYTES = 1 << 18
_GZIP_WBITS = 16 + zlib.MAX_WBITS


def read_blocks(path: Path, block_bytes: int) -> Iterator[bytes]:
    """Yield the file's uncompressed bytes in blocks of at most `block_bytes`.

    Raises:
        DataError: the file is missing or unreadable, empty, or its gzip stream is damaged or cut.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(2)
            if not magic:
                raise DataError(f"{path}: the file is empty; a Kineto trace was expected.")
            file.seek(0)
            if magic == _GZIP_MAGIC:
                yield from _gunzip(file.read, path, block_bytes)
            else:
                while block := file.read(block_bytes):
                    yield block
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from None


def _gunzip(read: object, path: Path, block_bytes: int) -> Iterator[bytes]:
    """Inflate member after member; `max_length` bounds each block however well it compresses."""
    assert callable(read)
    inflater = zlib.decompressobj(_GZIP_WBITS)
    compressed = b""
    read_so_far = 0
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
            yield block
    if not inflater.eof:
        raise DataError(
            f"{path}: the gzip data ends early, after {read_so_far} compressed bytes; "
            "the copy or the export was cut short."
        )
