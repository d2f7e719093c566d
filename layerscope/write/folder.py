"""A run's name in, its folder out: written under a temporary name, renamed when whole."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from layerscope.core.errors import DISK_ERRORS, EnvironmentProblem
from layerscope.core.whole_file import PARTIAL

# A run of the bundled model takes about 2 MiB while it is written, one of the XL model 110 MiB.
_LEAST_FREE_BYTES = 8 << 20


class RunFolder:
    """Context manager: `path` is a hidden folder inside `out` that takes its final name on success.

    An exception or Ctrl-C inside removes it, so no half-written run ever carries a final name. Two
    runs that start within one second get different names: the folder itself is the reservation.

    Args:
        instead: of the folder that has this name, which goes when this one is whole, not before.

    Raises:
        EnvironmentProblem: the place cannot be written, or the disk is full while inside.
    """

    # What a user can do about a place that cannot be written.
    remedy = "choose another folder with --out"

    def __init__(self, out: Path, name: str, *, instead: bool = False) -> None:
        self._instead = instead
        self._out = out
        self._wanted = name
        self.name = name
        self.path = out / (PARTIAL + name)
        self._made = False

    def __enter__(self) -> RunFolder:
        try:
            with _interrupts_held(again=True):
                self._begin()
        except KeyboardInterrupt:
            self._remove()
            raise
        return self

    def _begin(self) -> None:
        try:
            self._made = not self._out.exists()
            self._out.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._out).free
            if free < _LEAST_FREE_BYTES:
                # Now, and not after the minutes that loading and measuring take.
                raise OSError(errno.ENOSPC, f"{free >> 20} MiB free, a run needs more")
            self._reserve()
        except OSError as error:
            self._remove_out()
            raise EnvironmentProblem(
                f"{self._out}: runs cannot be written there ({error.strerror}); {self.remedy}."
            ) from None

    def _reserve(self) -> None:
        number = 1
        while True:
            self.name = self._wanted if number == 1 else f"{self._wanted}-{number}"
            self.path = self._out / (PARTIAL + self.name)
            if self._instead or not (self._out / self.name).exists():
                with contextlib.suppress(FileExistsError):
                    self.path.mkdir()
                    return
            number += 1

    def rename(self, name: str) -> None:
        """Take another name, before anything that holds the old one is written.

        Raises:
            OSError: as of the disk; the folder keeps its name then.
        """
        if name == self._wanted:
            return
        before, self._wanted = self.path, name
        self._reserve()
        self.path.rmdir()
        os.rename(before, self.path)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            try:
                # Whole but for its name: Ctrl-C now comes too late.
                with _interrupts_held():
                    self._take_name()
            except OSError as problem:
                self._remove()
                raise self._unwritable(problem) from None
            self.path = self._out / self.name
            return
        self._remove()
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise self._unwritable(error) from error

    def _take_name(self) -> None:
        final = self._out / self.name
        if not self._instead:
            os.rename(self.path, final)
            return
        before = self._out / f"{PARTIAL}{self.name}-before"
        os.rename(final, before)
        try:
            os.rename(self.path, final)
        except OSError:
            os.rename(before, final)
            raise
        shutil.rmtree(before, ignore_errors=True)

    def _remove(self) -> None:
        with _interrupts_held():
            shutil.rmtree(self.path, ignore_errors=True)
            self._remove_out()

    def _remove_out(self) -> None:
        """Take back the folder that only this run made; it stays if another run writes there."""
        if self._made:
            with contextlib.suppress(OSError):
                self._out.rmdir()

    def _unwritable(self, error: OSError) -> EnvironmentProblem:
        what = error.strerror or str(error)
        return EnvironmentProblem(
            f"{self._out / self.name}: the run could not be written ({what}); nothing was kept. "
            f"Free the disk or {self.remedy}."
        )


@contextlib.contextmanager
def _interrupts_held(*, again: bool = False) -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back while inside: a second one must not stop the first one's cleaning up.

    `again`: one that came is raised once more behind the block; else it is dropped.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread alone
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    held = [number for number, handler in before.items() if callable(handler)]
    for number in held:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number in held:
            signal.signal(number, before[number])
    if again and came:
        signal.raise_signal(came[0])
