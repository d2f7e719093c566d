"""A run's folder in, a hash of each of its files out; a record's text and the hash of its own out.

`run.json` keeps them under `hashes`. Its own is taken of its text with 64 zeros in the hash's place,
byte for byte, so that no change of a space goes unseen. A hash is no signature: who changes a file can
hash it again, and is then given away by the trace alone (`runs.verified`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from layerscope.core.files import RUN_FILE, json_text
from layerscope.core.folder_file import open_file
from layerscope.core.whole_file import PARTIAL, whole_file
from layerscope.records.run_record import RunRecord

_NO_HASH = "0" * 64


def seal(record: RunRecord, folder: Path) -> RunRecord:
    """Write `run.json` as the last of a folder's files, with the hashes of all of them.

    Returns:
        The record as it was written.

    Raises:
        OSError: a file cannot be read, or the record not be written.
    """
    hashes = {name: hash_of(folder, name) for name in names_in(folder) if name != RUN_FILE}
    sealed = replace(record, hashes={RUN_FILE: _NO_HASH} | hashes)
    data = json_text(sealed).encode() + b"\n"
    own = hashlib.sha256(data).hexdigest()
    with whole_file(folder / RUN_FILE) as partial:
        partial.write_bytes(data.replace(_entry(_NO_HASH), _entry(own), 1))
    return replace(sealed, hashes={RUN_FILE: own} | hashes)


def names_in(folder: Path) -> Iterator[str]:
    """Every file of a folder and of the folders in it, as `figures/phases.svg`, in order; links too."""
    for parent, folders, files in os.walk(folder):
        linked = [name for name in folders if (Path(parent) / name).is_symlink()]
        folders[:] = sorted(set(folders) - set(linked))
        for name in sorted([*files, *linked]):
            if not name.startswith(PARTIAL):
                yield (Path(parent) / name).relative_to(folder).as_posix()


def hash_of(folder: Path, name: str) -> str:
    """SHA-256 of a file of the folder, hexadecimal.

    Raises:
        OSError: no such file, a link, a pipe, or of a size that no such file has.
    """
    with open_file(folder / name, folder) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def holds(text: bytes, hashes: Mapping[str, str]) -> bool:
    """Whether the text of `run.json` is the one that its own hash was taken of."""
    own = hashes.get(RUN_FILE, "")
    if text.count(_entry(own)) != 1:
        return False
    return hashlib.sha256(text.replace(_entry(own), _entry(_NO_HASH))).hexdigest() == own


def _entry(value: str) -> bytes:
    """The hash of `run.json` as it stands in it: nowhere else, since quotes in a text are escaped."""
    return f'"{RUN_FILE}": "{value}"'.encode()
