"""A sweep folder in, the right to write it out: one process at a time, gone with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from layerscope.core.errors import EnvironmentProblem
from layerscope.core.files import LOCK_FILE


class SweepLock:
    """Context manager: holds `sweep.lock` in the sweep's folder.

    The kernel holds the lock for the open file, so it ends with the process however that ends: no
    lock is ever stale. The file stays, because removing it would let two processes lock two files.

    Raises:
        EnvironmentProblem: another process holds it, or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE
        self._file: int | None = None

    def __enter__(self) -> SweepLock:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise EnvironmentProblem(
                f"{self._path.parent}: the sweep cannot be written there ({error.strerror}); "
                "choose another folder with --out."
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 200, 0).decode("utf-8", "replace").strip()
            self._close()
            if not isinstance(error, BlockingIOError):
                raise EnvironmentProblem(
                    f"{self._path}: this file system has no locks ({error.strerror}); choose a "
                    "local folder with --out."
                ) from None
            raise EnvironmentProblem(
                f"{self._path.parent}: another sweep writes there ({holder or 'just started'}); "
                "wait for it, or choose another folder with --out."
            ) from None
        self._say_who()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)
        self._close()

    def _say_who(self) -> None:
        """For the message of whoever comes second; the lock itself needs no text."""
        assert self._file is not None
        now = datetime.now(UTC).isoformat(timespec="seconds")
        who = f"process {os.getpid()} on {socket.gethostname()} since {now}\n"
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, who.encode(), 0)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
