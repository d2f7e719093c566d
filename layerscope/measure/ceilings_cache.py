"""Ceilings kept between runs: a file and a key in, `Ceilings` out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec

from layerscope.records.work import Ceilings


def load_cached(path: Path, key: str) -> Ceilings | None:
    """The ceilings filed under this key, or None when there are none that can be read."""
    return _read(path).get(key)


def store(path: Path, ceilings: Ceilings) -> Ceilings:
    """File ceilings beside the others; the file is replaced in one step.

    Returns:
        The ceilings, with a note where they could not be kept.
    """
    kept = {**_read(path), ceilings.key: ceilings}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=2))
        temporary.replace(path)
    except OSError as error:
        note = f"not kept for the next run: {path}: {error.strerror}"
        return replace(ceilings, notes=(*ceilings.notes, note))
    return ceilings


def _read(path: Path) -> dict[str, Ceilings]:
    """Everything in the file. One that is missing or of another form counts as empty: it is only
    a cache, and the next measurement replaces it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Ceilings])
    except (OSError, msgspec.DecodeError):
        return {}
