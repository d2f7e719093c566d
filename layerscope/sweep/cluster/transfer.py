"""A run folder on a node in, the same folder at the driver out: by a shared disk, or as bytes."""

from __future__ import annotations

import io
import secrets
import tarfile
from dataclasses import dataclass
from pathlib import Path

from layerscope.core.errors import DataError

_TOKEN_FILE = "token"  # noqa: S105 no secret: it tells one folder from another


@dataclass(frozen=True)
class Meeting:
    """A folder of the driver, and a token in it that tells whether another machine sees the same."""

    folder: str
    token: str

    def seen_here(self) -> bool:
        """Whether this machine sees the driver's folder, and can write to it."""
        folder = Path(self.folder)
        try:
            if (folder / _TOKEN_FILE).read_text(encoding="utf-8") != self.token:
                return False
            probe = folder / f"probe-{secrets.token_hex(8)}"
            probe.mkdir()
            probe.rmdir()
        except (OSError, UnicodeDecodeError):
            return False
        return True


def open_meeting(folder: Path) -> Meeting:
    """Make a folder of the driver's one where nodes can show that they see it."""
    token = secrets.token_hex(16)
    (folder / _TOKEN_FILE).write_text(token, encoding="utf-8")
    return Meeting(folder=str(folder.resolve()), token=token)


def pack(folder: Path) -> bytes:
    """A run folder as an uncompressed tar: its largest file, the trace, is compressed already."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=".")
    return buffer.getvalue()


def unpack(data: bytes, folder: Path) -> None:
    """Write a packed run folder into `folder`, which it makes.

    Raises:
        DataError: not a packed run folder, or one that would write outside.
    """
    folder.mkdir()
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            archive.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise DataError(f"{folder}: what a node sent is no run folder ({error}).") from None
