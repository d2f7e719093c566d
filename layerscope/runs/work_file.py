"""The counted work of a run, in its folder: the account is made again from it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from layerscope.core.errors import DataError
from layerscope.records import CountedWork
from layerscope.runs.place import WORK_FILE


def write_work(work: CountedWork, folder: Path) -> dict[str, str]:
    """Write the counted work beside the tables: the account is made again from it."""
    (folder / WORK_FILE).write_bytes(msgspec.json.encode(work) + b"\n")
    return {"work": WORK_FILE}


def read_work(path: Path) -> CountedWork | None:
    """The counted work of a run; None where the run counted none.

    Raises:
        DataError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=CountedWork)
    except (msgspec.DecodeError, OSError) as error:
        raise DataError(f"{path}: not a count of work ({error}).") from None
