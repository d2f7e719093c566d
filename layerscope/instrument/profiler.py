"""Code under the profiler in, Kineto's own trace file out: one `torch.profiler` session."""

from __future__ import annotations

import errno
import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import torch
from torch.profiler import ProfilerActivity, profile

from layerscope.core.errors import EnvironmentProblem
from layerscope.core.whole_file import whole_file
from layerscope.core.words import first_line
from layerscope.instrument import cupti
from layerscope.instrument.library_noise import without_library_noise
from layerscope.instrument.other_sessions import (
    ForeignStarts,
    end_our_session,
    refuse_beside_another,
    start_our_session,
)
from layerscope.private.names import require
from layerscope.private.profiler import SESSION, all_threads, give_up, was_taken_over

# Level 9, torch's own choice, takes three times as long for 4 % less.
_COMPRESSION = 5
_COPY_BYTES = 1 << 20
_warmed: set[bool] = set()


class ProfilerSession:
    """Context manager around the traced code. `export()` writes the trace afterwards.

    The device is synchronised before the window opens and before it closes, never inside. torch has
    one session a process: beside another one this one is refused, and one that starts inside takes
    it over, which `export` then says.

    Args:
        cuda: record the device, too.
        all_threads: record what every thread does, not only the calling one.

    Raises:
        EnvironmentProblem: the profiler does not start, because another one runs or is not let in.
    """

    def __init__(self, *, cuda: bool, all_threads: bool = False) -> None:
        self._cuda = cuda
        self._all_threads = all_threads
        self._profile: profile | None = None
        self._taken = False

    @property
    def cuda(self) -> bool:
        """Whether the device is recorded, too."""
        return self._cuda

    def __enter__(self) -> ProfilerSession:
        start_our_session()
        try:
            self._start()
        except BaseException:
            end_our_session()
            raise
        self._process = os.getpid()
        return self

    def _start(self) -> None:
        require(SESSION)  # a session that started must not fail at its end
        try:
            refuse_beside_another()
            _warm(cuda=self._cuda)
            self._profile = profile(
                activities=_activities(cuda=self._cuda),
                experimental_config=all_threads() if self._all_threads else None,
            )
            self._synchronize()
            with without_library_noise():
                self._profile.__enter__()  # type: ignore[no-untyped-call]
            self._foreign = ForeignStarts()
        except (torch.OutOfMemoryError, torch.AcceleratorError):
            raise  # the device itself, which others judge
        except RuntimeError as error:
            why = first_line(error, longest=None)
            raise EnvironmentProblem(
                f"torch.profiler does not start ({why}); {cupti.REMEDY}, or run with --no-trace."
            ) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._profile is not None
        self._foreign.stop_looking()
        if os.getpid() != self._process:
            # A fork inside the window: the session is the parent's, which will end it.
            self._taken = True
            return
        try:
            self._synchronize()
        finally:
            try:
                self._taken = self._foreign.seen
                if not self._taken:
                    # Ending a session that another one has taken over would end that one.
                    with without_library_noise():
                        self._profile.__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]
                    self._taken = was_taken_over(self._profile)
                else:
                    give_up(self._profile)
            finally:
                end_our_session()

    @staticmethod
    def prepare(*, cuda: bool) -> None:
        """Load what the first session of a process loads: it has to come before any CUDA graph is
        captured (pytorch #75504), and must not lie in a window."""
        _warm(cuda=cuda)

    def when_taken(self, call: Callable[[], None]) -> None:
        """Have `call` called as soon as another session takes this one's place; only inside."""
        self._foreign.call = call

    def add_metadata(self, key: str, text: str) -> None:
        """Put a text beside the events; only inside the window.

        Args:
            text: printable ASCII without quotes and backslashes, which Kineto would spoil.
        """
        assert self._profile is not None
        if not self._foreign.seen:
            self._profile.add_metadata_json(key, f'"{text}"')

    def export(self, path: Path) -> None:
        """Write the trace as Kineto gives it, gzipped when the name ends in `.gz`.

        The file takes its name when it is whole.

        Raises:
            EnvironmentProblem: the file cannot be written, or there is no trace: another profiler
                took the session over.
        """
        assert self._profile is not None
        if self._taken:
            raise EnvironmentProblem(
                "no trace: torch has one profiler session a process, and another one took it over "
                "inside the block (a torch.profiler that started there); use one of the two at a time."
            )
        try:
            # Kineto writes into a folder of its own: it packs by a name's ending, slower than we do.
            with (
                tempfile.TemporaryDirectory(dir=path.parent) as folder,
                whole_file(path) as partial,
            ):
                plain = Path(folder) / "trace.json"
                self._write(plain)
                if path.suffix == ".gz":
                    compress(plain, partial)
                else:
                    plain.rename(partial)
        except OSError as error:
            raise EnvironmentProblem(
                f"{path}: the trace cannot be written ({error.strerror or error})."
            ) from None

    def let_go(self) -> None:
        """Give back the memory that the events take, once they are written or nobody wants them.

        torch's session refers to itself, so that only a collection of all garbage would free it, and a
        service whose calls are traced again and again seldom has one.
        """
        if self._profile is not None:
            vars(self._profile).clear()
            self._profile = None

    def _write(self, path: Path) -> None:
        """Kineto reports a failed write on stderr alone, so look whether the file is there."""
        assert self._profile is not None
        with without_library_noise():
            self._profile.export_chrome_trace(str(path))
        if not path.exists():
            raise OSError(errno.ENOSPC, "the disk is full or refuses the file")

    def _synchronize(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()


def _activities(*, cuda: bool) -> list[ProfilerActivity]:
    return [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]


def _warm(*, cuda: bool) -> None:
    """One empty session a process: the first one loads CUPTI."""
    if cuda in _warmed:
        return
    with without_library_noise(), profile(activities=_activities(cuda=cuda)):
        torch.zeros(1, device="cuda" if cuda else "cpu").add_(1)
        if cuda:
            torch.cuda.synchronize()
    _warmed.add(cuda)


def compress(plain: Path, path: Path) -> None:
    """Write a file gzipped to another place, in bounded memory."""
    packer = zlib.compressobj(_COMPRESSION, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    with plain.open("rb") as source, path.open("wb") as target:
        while block := source.read(_COPY_BYTES):
            target.write(packer.compress(block))
        target.write(packer.flush())
